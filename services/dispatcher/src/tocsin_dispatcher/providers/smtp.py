"""E-mail by SMTP: any server that relays for us, in place of an API or when it is out."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from tocsin_dispatcher.providers.judging import judged
from tocsin_dispatcher.providers.smtp_connections import Connections, Server
from tocsin_dispatcher.providers.smtp_mail import Sender, mail_of, message_id
from tocsin_dispatcher.providers.smtp_outcomes import smtp_outcome
from tocsin_dispatcher.values import Attempt, EmailMessage, Outcome, OutcomeKind
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.propagation import context_of

_IN_HAND_EACH = 4
"""Messages for each connection, the one that is under way included."""


class Smtp:
    """An SMTP server as a provider of e-mail."""

    name = "smtp"

    def __init__(self, server: Server, sender: Sender, connections: Connections, tracer: Tracer) -> None:
        self._server, self._sender = server, sender
        self._connections, self._tracer = connections, tracer
        # A few wait for each connection, so that none is idle, and nobody long.
        self.room: int | None = server.connections * _IN_HAND_EACH
        # Without the password: it may be short enough to be guessed from a sum.
        named = f"{server.username}@{server.host}:{server.port}"
        self.credential = hashlib.sha256(named.encode()).hexdigest()[:12]

    async def send(self, message: EmailMessage, attempt: Attempt) -> Outcome:
        """Hand one e-mail over."""
        try:
            mail = mail_of(message, attempt, self._sender)
        except ValueError:
            return Outcome(OutcomeKind.PERMANENT, answer="no address that mail can go to")
        with self._span(attempt) as span:
            exchange = await self._connections.hand_over(mail)
            named = message_id(attempt, self._sender.domain)
            outcome = judged(lambda heard: smtp_outcome(heard, named), exchange, attempt.delivery_id)
            _tell(span, outcome)
        return outcome

    @contextmanager
    def _span(self, attempt: Attempt) -> Iterator[Span]:
        said: dict[str, str | int] = {
            names.SERVER_ADDRESS: self._server.host,
            names.SERVER_PORT: self._server.port,
            names.DELIVERY_ID: str(attempt.delivery_id),
        }
        with self._tracer.start_as_current_span(
            "SMTP",
            context=context_of(attempt.traceparent, attempt.tracestate),
            kind=SpanKind.CLIENT,
            attributes=said,
            record_exception=False,
        ) as span:
            yield span


def _tell(span: Span, outcome: Outcome) -> None:
    span.set_attribute(names.OUTCOME, outcome.kind)
    if outcome.kind is not OutcomeKind.ACCEPTED:
        span.set_attribute(names.ERROR_TYPE, str(outcome.status or outcome.kind))
        span.set_status(Status(StatusCode.ERROR))
