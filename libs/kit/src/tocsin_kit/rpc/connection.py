"""Channel arguments of both sides, in one place because they must agree (grpc/grpc, doc/keepalive.md).

A client that pings more often than the server permits is sent away (GOAWAY `too_many_pings`); a server that never
closes connections keeps traffic away from new replicas.
"""

from __future__ import annotations

import json
from datetime import timedelta
from random import Random

Arguments = list[tuple[str, int | str]]

_CLIENT_PINGS_EVERY = timedelta(seconds=30)
_SERVER_PERMITS_EVERY = timedelta(seconds=20)
_PING_ANSWERED_WITHIN = timedelta(seconds=10)
_CONNECTION_AGE_SECONDS = (60.0, 120.0)
_LARGEST_MESSAGE = 16 * 1024 * 1024

_ROUND_ROBIN = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


def _ms(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


def client_arguments() -> Arguments:
    """Round robin over all addresses of the target, keepalive, quick reconnection."""
    return [
        ("grpc.service_config", _ROUND_ROBIN),
        ("grpc.keepalive_time_ms", _ms(_CLIENT_PINGS_EVERY)),
        ("grpc.keepalive_timeout_ms", _ms(_PING_ANSWERED_WITHIN)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ]


def server_arguments(random: Random) -> Arguments:
    """Permits the clients' keepalive; closes each connection after 60 to 120 s so that new replicas get traffic."""
    age = timedelta(seconds=random.uniform(*_CONNECTION_AGE_SECONDS))
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(_SERVER_PERMITS_EVERY)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _ms(_CLIENT_PINGS_EVERY)),
        ("grpc.keepalive_timeout_ms", _ms(_PING_ANSWERED_WITHIN)),
        ("grpc.max_connection_age_ms", _ms(age)),
        ("grpc.max_connection_age_grace_ms", 30_000),
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ]
