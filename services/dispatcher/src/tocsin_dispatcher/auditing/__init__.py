"""Proof that nothing is lost.

audit.py       the job `dispatch.audit`: compares firings with notifications minute by minute, has missing ones sent
               again, applies receipts that were missed, checks the books
comparing.py   the two books side by side, and which firings are missing
alarm.py       the errors, with ids, when the books do not balance or a gap does not heal
reading.py     the books as an operator reads them: all of it looked up when asked
profiles.py    people's profiles against the evaluator's
retention.py   the job `dispatch.retention`: how long things live
gauges.py      what is measured every few seconds
"""
