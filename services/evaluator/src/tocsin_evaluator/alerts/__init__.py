"""Alerts as their owners see them: created, changed, snoozed, deleted. `desk.py` is where it happens."""
