"""Applying what providers say later: once each, in any order.

    callbacks.py   a batch of callbacks ─► receipts read, those that are new written
    applying.py    a receipt ─► the delivery's state, the suppression list, a preference

A receipt whose delivery is not known yet is kept, and applied when an attempt's outcome names its message.
"""
