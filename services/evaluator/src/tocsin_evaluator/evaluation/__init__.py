"""From a fact to a firing: statements composed of the kinds' expressions, and the ways to run them.

Start with `statements.py` (the scan and the firing statement), then `run.py` (three statements in one transaction).
`realtime.py`, `sweep.py`, `bills.py` and `person.py` are the ways that lead there; `ledger.py` counts what they did.
"""
