"""Drafts to where the site wants them: once, and never over what a person has touched.

line.py          what is wanted, what is remembered, what stands there, what was answered
reconcile.py     what to do about one line: pure, a table of cases
settle.py        one patient's month: look, reconcile, hand over; approve; resolve
hand.py          the hand that writes, each step written down before and after
ledger.py        what is remembered (database.py, tables.py, migrating.py, migrations/), sealed by seal.py
writer.py        one writer per patient and month
sink.py          what a destination is; doors.py chooses those of a site
fhir_sink.py oracle_sink.py dft.py files_sink.py work_list.py
comparing.py     do two resources say the same
delivered.py     what is reported
"""
