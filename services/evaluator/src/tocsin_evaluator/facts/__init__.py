"""Facts on their way in: checked, merged, coalesced, written in one transaction with what they fire.

Start with `coalescer.py` (how concurrent calls share transactions), then `intake.py` (one transaction). `periods.py`,
`purchases.py` and `names.py` are pure.
"""
