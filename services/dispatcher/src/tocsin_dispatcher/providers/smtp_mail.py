"""An e-mail as SMTP carries it: the envelope and the bytes (RFC 5322, MIME, RFC 8058)."""

import re
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage as MimeMessage
from email.policy import EmailPolicy
from email.utils import format_datetime

from email_validator import validate_email

from tocsin_dispatcher.channels.email import header_text
from tocsin_dispatcher.values import Attempt, EmailMessage

_LONGEST_UNFOLDED = 900
"""Of the 998 octets that a line may have (RFC 5322, 2.1.1)."""
_NOT_OF_A_URL = re.compile(r"[^\x21-\x7e]")
_UNFOLDED = frozenset({"list-unsubscribe", "message-id"})


class _Policy(EmailPolicy):
    """The standard library folds a link that is longer than a line into encoded words, which nobody can click."""

    def fold(self, name: str, value: str) -> str:
        """The header as text."""
        if name.lower() in _UNFOLDED and len(value) <= _LONGEST_UNFOLDED:
            return f"{name}: {value}\r\n"
        return str(super().fold(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        """The header as bytes."""
        if name.lower() in _UNFOLDED and len(value) <= _LONGEST_UNFOLDED:
            return f"{name}: {value}\r\n".encode("ascii")
        return super().fold_binary(name, value)


# Bodies of seven bits pass every server. Their lines are those of RFC 5322, as are the headers'.
_ASCII = _Policy(linesep="\r\n", cte_type="7bit")
_UTF8 = _Policy(linesep="\r\n", cte_type="7bit", utf8=True)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who the mail is from."""

    email: str
    name: str

    @property
    def domain(self) -> str:
        """The address's."""
        return self.email.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Mail:
    """One message, ready to leave."""

    sender: str
    recipient: str
    needs_utf8: bool
    """The recipient's address is not ASCII: only a server with SMTPUTF8 takes it (RFC 6531)."""
    content: bytes


def message_id(attempt: Attempt, domain: str) -> str:
    """The name of one attempt's message, without its angle brackets: ours, so that it is known before any answer."""
    return f"{attempt.delivery_id}.{attempt.number}@{domain}"


def mail_of(message: EmailMessage, attempt: Attempt, sender: Sender) -> Mail:
    """The message: text first, then HTML. Raises ValueError where the recipient's address is none."""
    to = validate_email(message.to, check_deliverability=False, allow_quoted_local=True)
    needs_utf8 = to.ascii_email is None
    recipient = to.ascii_email or to.normalized
    mime = MimeMessage(_UTF8 if needs_utf8 else _ASCII)
    mime["From"] = Address(header_text(sender.name), addr_spec=sender.email)
    # The standard library parses no address with a name that is not ASCII, and writes one all the same.
    mime["To"] = Address(username=to.local_part, domain=to.domain) if needs_utf8 else Address(addr_spec=recipient)
    mime["Subject"] = header_text(message.subject)
    mime["Date"] = format_datetime(attempt.started_at)
    mime["Message-ID"] = f"<{message_id(attempt, sender.domain)}>"
    mime["List-Unsubscribe"] = f"<{_NOT_OF_A_URL.sub('', message.unsubscribe_url)}>"
    mime["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mime["Auto-Submitted"] = "auto-generated"
    mime.set_content(message.text, subtype="plain", charset="utf-8")
    mime.add_alternative(message.html, subtype="html", charset="utf-8")
    mime.set_boundary(f"=_{attempt.delivery_id.hex}.{attempt.number}")
    return Mail(sender.email, recipient, needs_utf8, mime.as_bytes())
