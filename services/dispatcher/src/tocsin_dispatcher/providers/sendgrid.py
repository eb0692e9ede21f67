"""E-mail by SendGrid's v3 API: its own helpers make the payload, our pooled client sends it."""

import hashlib
from dataclasses import dataclass, field

import orjson
from sendgrid.helpers.mail import Content, CustomArg, From, Header, Mail, To

from tocsin_dispatcher.providers.http import HttpClient, Request
from tocsin_dispatcher.providers.sendgrid_outcomes import sendgrid_outcome
from tocsin_dispatcher.values import Attempt, EmailMessage, Outcome

DELIVERY_ARG = "delivery_id"
PARTNER_ARG = "partner_id"
ATTEMPT_ARG = "delivery_attempt"
"""Not `attempt`: deferred events have a field of that name, which would overwrite ours."""


@dataclass(frozen=True)
class SendGridAccount:
    """Whose SendGrid account, and who the mail is from."""

    api_key: str = field(repr=False)
    from_email: str
    from_name: str
    base_url: str


class SendGrid:
    """SendGrid as a provider of e-mail."""

    name = "sendgrid"
    room: int | None = None

    def __init__(self, account: SendGridAccount, http: HttpClient) -> None:
        self._account = account
        self._http = http
        self._url = f"{account.base_url.rstrip('/')}/v3/mail/send"
        self._headers = {"Authorization": f"Bearer {account.api_key}", "Content-Type": "application/json"}
        self.credential = hashlib.sha256(account.api_key.encode()).hexdigest()[:12]

    async def send(self, message: EmailMessage, attempt: Attempt) -> Outcome:
        """Hand one e-mail over."""
        body = orjson.dumps(self.payload(message, attempt))
        return await self._http.call(Request("POST", self._url, self._headers, body), attempt, sendgrid_outcome)

    def payload(self, message: EmailMessage, attempt: Attempt) -> dict[str, object]:
        """The request's JSON: one recipient, text before HTML, our ids as custom arguments (they come back flat in
        every event), and the two headers of RFC 8058."""
        mail = Mail(
            from_email=From(self._account.from_email, self._account.from_name),
            to_emails=To(message.to),
            subject=message.subject,
        )
        mail.add_content(Content("text/plain", message.text))
        mail.add_content(Content("text/html", message.html))
        mail.add_header(Header("List-Unsubscribe", f"<{message.unsubscribe_url}>"))
        mail.add_header(Header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        mail.add_custom_arg(CustomArg(DELIVERY_ARG, str(attempt.delivery_id)))
        mail.add_custom_arg(CustomArg(ATTEMPT_ARG, str(attempt.number)))
        mail.add_custom_arg(CustomArg(PARTNER_ARG, str(attempt.partner_id)))
        made: dict[str, object] = mail.get()
        return made
