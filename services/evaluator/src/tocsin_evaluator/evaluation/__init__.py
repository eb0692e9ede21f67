"""From a fact to a firing: statements composed of the kinds' expressions, and the ways to run them.

Start with `scanning.py` (which alerts are true, and why one does not fire) and `firing.py` (the firing statement), both
over what `scope.py` joins; then `run.py` (three statements in one transaction). `realtime.py`, `sweep.py`, `bills.py`
and `person.py` are the ways that lead there; `ledger.py` counts what they did. `recheck.py` asks which firings still
hold, `explaining.py` says why an alert fires or does not, and `backtesting.py` what it would have told in the past.
"""
