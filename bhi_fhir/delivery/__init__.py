"""Drafts to where the site wants them: once, and never over what a person has touched.

line.py          what is wanted, what is remembered, what stands there, what was answered
reconcile.py     what to do about one line: pure, a table of cases
settle.py        one patient's month: look, reconcile, hand over; approve; resolve
hand.py          the hand that writes, each step written down before and after
ledger.py        what is remembered (database.py, tables.py, migrating.py, migrations/), sealed by seal.py
writer.py        one writer per patient and month
sink.py          what a destination is, and what a failed send means; doors.py chooses those of a site
fhir_sink.py     the FHIR server itself
oracle_sink.py   Oracle's operations on ChargeItem
dft.py           HL7 v2 DFT^P03: dft_message.py writes it, mllp.py carries it, identifying.py knows who is meant
files_sink.py    a folder that another program polls
work_list.py     what people enter by hand
charged.py       what a charge's draft says, for doors that do not take the resource as it is
folder.py        files and sheets for other programs
comparing.py     do two resources say the same
delivered.py     what is reported
"""
