"""Proof that nothing is lost.

audit.py       the job `dispatch.audit`: compares firings with notifications minute by minute, has missing ones sent
               again, applies receipts that were missed, checks the books
retention.py   the job `dispatch.retention`: how long things live
gauges.py      what is measured every few seconds
"""
