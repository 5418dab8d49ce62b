"""The pages: what they show (month.py, course.py, minutes.py, caseload_table.py), and how (shown.py, templates, static)."""
