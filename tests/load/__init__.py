"""`make bench`: the budgets of the design pages, each measured beside a floor in the same run.

python -m tests.load --only evaluator

__main__.py    the command: runs the suites, prints a table and a last line of JSON `{"measures": {...}}`
measures.py    what a measure is, its bound, and how a run is compared with a saved baseline
rig.py         PostgreSQL, NATS and the service under load as processes, and a client beside them
evaluator/     what is measured of the evaluator, and the data it is measured on
dispatcher/    the same of the dispatcher
"""
