"""Applying what providers say later: once each, in any order.

    callbacks.py   a batch of callbacks ─► receipts read, those that are new written
    matching.py    a receipt ─► its delivery
    steps.py       a delivery's state and its receipts ─► the steps it takes
    addresses.py   a receipt ─► the suppression list, a preference
    applying.py    all of it, in one transaction

A receipt whose delivery is not known yet is kept, and applied when an attempt's outcome has named its message: by
whoever wrote the outcome, else by the audit.
"""
