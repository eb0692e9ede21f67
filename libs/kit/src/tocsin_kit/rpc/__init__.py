"""gRPC as every service speaks it.

A call on the server::

    server.GrpcServer ─► stages/: tracing ► metering ► failures ► deadline ► access ► validation ► the servicer

* `errors` is the closed list of reasons and the one table from reason to gRPC status; servicers raise `TocsinError`.
* `caller` says who calls (`current_caller()`), `tokens` how that is proved.
* `client.channel` is the other side: deadline always, the trace and a token passed on.

Start reading at `server`.
"""
