"""Joins the machines and settles them: one verb, handle(event, now)."""
