"""The scheduler decides when work is done, and keeps the record of what happened. It does no domain work.

::

    schedules ──► ticking ──┐                        ┌──► JOBS ──► a service does the job
                            ├──► jobs + outbox row ──┤
    JobService ─► desk ─────┘        ▲               │
                                     │               ▼
               overseeing ───────────┤         JOB_EVENTS
               (retries, silence)    └── reports ◄───┘

1. `schedules` says what a schedule is and which are shipped; `cron` when it runs, daylight saving included.
2. `ticking` turns due times into runs and jobs, in one transaction, on any number of replicas.
3. `jobs` holds a job's states and every step between them, purely.
4. `reports` takes in what workers say; `overseeing` queues retries and takes silent jobs for lost.
5. `desk` does what operators ask for: trigger, retry, cancel, change a schedule.
6. `retention` forgets, `measuring` counts.

`doors/` holds the gRPC servicers and the consumer of job events, `store/` the tables and statements; `app` wires them.
Start with `ticking` and `jobs`.
"""
