"""A Bulk Data export of any size: folders of NDJSON in; decisions, drafts, set-aside lines and a summary out.

    job.py           what one run is about, written down at its beginning
    lines.py         the folder's files, cut into pieces; their lines, within limits
    owners.py        whose line it is
    index.py         where the lines of a share of the patients stand
    split.py         a piece -> an index of its lines; then a closer look at its odd ones
    joining.py       what belongs together although it stands under different names
    deciding.py      a share of the patients -> decisions, drafts, set-aside lines
    withholding.py   what is withheld from everybody
    tally.py         what a share, or all of it, comes to
    trace.py         one decision with its evidence as a line, and back
    crew.py          the steps on several processes; what is done stays done
    run.py           the steps in their order
    report.py        what a run says at its end
    spark/           the same on Spark

A patient's lines go to one share by a hash of the patient's reference, so a share is decided exactly as `evaluate`
decides a file of it. What a share cannot know by itself is found out before: what is withheld from everybody, who is
merged with whom, what is given twice under two patients. Memory is bounded by a batch of lines and one patient,
whatever the size of the export; staff and organizations are held by each process, 2 to 3 KB for each.
"""
