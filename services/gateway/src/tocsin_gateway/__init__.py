"""The gateway: REST, the live inbox and providers' callbacks.

::

    app, browser ─► entrance/ ─► rest.py ─► transcoding/ ─► doors/upstream.py ─► the service that serves the RPC
                       │
                       ├──────► live/       WebSocket: what changed in a user's inbox
    SendGrid, Twilio ──┴──────► callbacks/  verify ─► store ─► 2xx ─► outbox ─► RECEIPTS

1. `transcoding/` derives routes, JSON and statuses from the contract's descriptors: there is no handler per endpoint.
2. `entrance/` stands around every request: id, span, token, rate, size, and problems (RFC 9457) for what is wrong.
3. `callbacks/` stores raw bytes before it answers; `doors/jobs.py` hands on again what the dispatcher does not know.
4. `live/` reads what changed from the dispatcher whenever NATS says that something did.

Start reading at `site.py`, which lists every address, then `rest.py`.
"""
