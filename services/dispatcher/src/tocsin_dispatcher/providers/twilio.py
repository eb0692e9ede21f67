"""SMS by Twilio's Messages API, with our own client: the SDK's ignores time limits and repeats POSTs."""

import base64
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tocsin_dispatcher.providers.http import HttpClient, Request
from tocsin_dispatcher.providers.twilio_outcomes import twilio_outcome
from tocsin_dispatcher.values import Attempt, Outcome, SmsMessage

CALLBACK_PATH = "/webhooks/twilio/status"
DELIVERY_PARAMETER = "delivery_id"
ATTEMPT_PARAMETER = "attempt"
PARTNER_PARAMETER = "partner_id"
_ASK_FOR_REPEATS = "#rc=5&rp=all"
"""Connection overrides: without them Twilio does not repeat a callback that failed."""


@dataclass(frozen=True)
class TwilioAccount:
    """Whose Twilio account, and what the messages come from: a number, or a Messaging Service where one is set."""

    sid: str
    auth_token: str = field(repr=False)
    from_number: str
    messaging_service_sid: str
    base_url: str
    public_url: str
    """The gateway's, where callbacks arrive."""

    @property
    def messages_url(self) -> str:
        """The Messages resource of the account."""
        return f"{self.base_url.rstrip('/')}/2010-04-01/Accounts/{self.sid}/Messages.json"

    @property
    def headers(self) -> dict[str, str]:
        """HTTP Basic authentication, sid and token."""
        return {"Authorization": "Basic " + base64.b64encode(f"{self.sid}:{self.auth_token}".encode()).decode()}


class Twilio:
    """Twilio as a provider of SMS."""

    name = "twilio"
    room: int | None = None

    def __init__(self, account: TwilioAccount, http: HttpClient) -> None:
        self._account = account
        self._http = http
        self.credential = account.sid

    async def send(self, message: SmsMessage, attempt: Attempt) -> Outcome:
        """Hand one SMS over."""
        headers = {**self._account.headers, "Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(self.form(message, attempt)).encode()
        request = Request("POST", self._account.messages_url, headers, body)
        return await self._http.call(request, attempt, twilio_outcome)

    def form(self, message: SmsMessage, attempt: Attempt) -> dict[str, str]:
        """The request's form: the callback URL names our delivery and attempt, in case the answer is lost."""
        service = self._account.messaging_service_sid
        sender = {"MessagingServiceSid": service} if service else {"From": self._account.from_number}
        return {"To": message.to, **sender, "Body": message.text, "StatusCallback": self._callback_url(attempt)}

    def _callback_url(self, attempt: Attempt) -> str:
        query = urlencode(
            {
                PARTNER_PARAMETER: attempt.partner_id,
                DELIVERY_PARAMETER: attempt.delivery_id,
                ATTEMPT_PARAMETER: attempt.number,
            }
        )
        return f"{self._account.public_url.rstrip('/')}{CALLBACK_PATH}?{query}{_ASK_FOR_REPEATS}"
