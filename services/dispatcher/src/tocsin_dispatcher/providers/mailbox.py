"""The local mailbox: keeps what would have been sent, for a page to show. Used where no credentials are set."""

from collections.abc import Awaitable, Callable

from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    EmailMessage,
    MailboxEntry,
    Outcome,
    OutcomeKind,
    SmsMessage,
)

Keep = Callable[[MailboxEntry, Attempt], Awaitable[None]]
"""Stores an entry; twice the same attempt is one entry."""


class Mailbox:
    """A provider of e-mail and SMS that sends nothing."""

    name = "mailbox"
    credential = "local"
    room: int | None = None

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    async def send(self, message: EmailMessage | SmsMessage, attempt: Attempt) -> Outcome:
        """Keep one message; its id is the delivery's and the attempt's."""
        await self._keep(_entry(message), attempt)
        return Outcome(OutcomeKind.ACCEPTED, provider_id=f"{attempt.delivery_id}:{attempt.number}")


def _entry(message: EmailMessage | SmsMessage) -> MailboxEntry:
    match message:
        case EmailMessage():
            return MailboxEntry(Channel.EMAIL, message.to, message.subject, message.text, message.html)
        case SmsMessage():
            return MailboxEntry(Channel.SMS, message.to, "", message.text, "")
