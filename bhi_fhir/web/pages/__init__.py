"""The pages: what they show (month.py, course.py, minutes.py, rows.py), and how (shown.py, templates, static)."""
