"""The live inbox, WebSocket `/api/v2/live`.

::

    client ── hello (token, version) ──►  sockets.py   one Socket per connection
                                              │ joins
                                          feeds.py     one NATS subscription per user and replica
                                              ▲
    dispatcher ── tocsin.inbox.<partner>.<user> (version)

1. The cursor is the inbox's `version`. A socket asks `ListChanges` for what lies behind its cursor: on connect, and
   whenever its user's feed has heard of a higher version. What is heard is a bell, never the news itself, so a lost
   or doubled message costs nothing.
2. `protocol.py` is what travels over the socket, both ways.
3. The socket writes one page and waits until it is taken; a client that takes none in time is told to `resync` and
   dropped. Nothing is buffered.
"""
