"""The doctor: verdicts by tables, and whole examinations on hosts of a lab."""
