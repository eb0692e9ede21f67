"""What every HTTP request meets before anything is done for it.

`frame.py` (request id, trace, security headers, metrics, a log line for what failed) stands around everything;
`bodies.py` bounds what is read; `callers.py` says who calls and whether they call too often (`buckets.py`);
`problems.py` is how every refusal looks (RFC 9457).
"""
