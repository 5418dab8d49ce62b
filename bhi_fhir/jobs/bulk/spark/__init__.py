"""The same run on Spark: for exports that outgrow a machine.

Each task calls what the local engine calls (tasks.py). The lines are read three times: counted (a line's number is
known when the blocks before it have been counted), surveyed (what must be known before anybody is decided), and then
shuffled, once, by patient and decided. The driver holds what is the same for everybody (staff, what is withheld from
all), 64-bit marks of patients who belong together, and counts; no patient's lines.

    engine.py    the command: Spark's session, the folder that nobody else works in
    store.py     a folder wherever Spark's file systems have it
    export.py    the files or the table, as data frames of lines
    run.py       from an export to a folder that is whole
    tasks.py     what each task does

A run that was cut off begins anew. Needs a Spark that gives its JVM to Python: not Spark Connect.
"""
