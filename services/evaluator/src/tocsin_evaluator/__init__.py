"""The evaluator: facts come in, and what they make true fires once.

    FactService ─► facts/coalescer ─► facts/intake ──────────────┐
    AlertService ─► alerts/desk ─► evaluation/person ────────────┤
    JOBS ─► doors/jobs ─► evaluation/sweep, bills, person ───────┤
                                                                 ▼
                       evaluation/scanning + firing, composed of kinds/*  ─► outbox ─► FIRINGS, PROFILES

1. `kinds/`: one file a kind of alert, an SQL expression over an alert and a fact. Start with `kinds/goal.py`.
2. `evaluation/`: composes them into a scan and a firing statement over a set, and runs these in four ways: real time,
   sweep, bills, user. `evaluation/firing.py` is the heart. The same expressions
   explain an alert (`evaluation/explaining.py`) and try it out on the past (`evaluation/backtesting.py`).
3. `facts/`: concurrent calls become batches, batches become transactions.
4. `alerts/`: what owners do with their alerts.
5. `store/`: tables and every other statement. `doors/`: gRPC, jobs, and where protobuf stops.
6. `app.py` wires it all; `upkeep.py` audits and throws away.
"""
