"""Proof that nothing is lost.

minutes.py     firings and notifications of a minute, as counts and checksums
audit.py       the job `dispatch.audit`: compares, has missing firings sent again, checks the books
retention.py   the job `dispatch.retention`: how long things live
gauges.py      what is measured every few seconds
"""
