"""Facts on their way in: checked, merged, coalesced, written in one transaction with what they fire.

Start with `coalescer.py` (how concurrent calls share transactions), then `intake.py` (one transaction, with steps of
their own in `pairing.py`, `taking_budgets.py` and `taking_bills.py`). `periods.py`, `purchases.py` and `merging.py` are
pure.
"""
