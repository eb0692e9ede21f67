"""What every Tocsin service needs and no service is.

Where to start reading::

    settings ─► lifecycle.main ─► a service's app.py
                     │
                     ├─ loops.Loop            a round of work, then sleep until more is due
                     ├─ postgres/             engine, outbox + relay, idempotency keys, migrations
                     ├─ messaging/            streams, broker, publisher, consumer, jobs
                     ├─ rpc/                  server and client chassis, callers, tokens, errors
                     ├─ http/                 HTTP server and the admin port
                     └─ telemetry/            traces, metrics, logs

1. `clock`, `ids` and a `random.Random` are passed in everywhere; nothing else reads time or chance.
2. Whatever runs in the background is a `lifecycle.Part`; one that fails ends the process.
3. `activity.Activity` counts work under way, so that a simulation knows when all is quiet.

Nothing here knows what an alert or a notification is.
"""
