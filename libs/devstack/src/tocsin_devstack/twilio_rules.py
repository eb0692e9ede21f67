"""How Twilio judges a form, counts segments and signs.

Sources: the Message resource, the SMS character limit and the webhook security pages of https://www.twilio.com/docs,
3GPP TS 23.038 for the alphabet.
"""

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urldefrag

from tocsin_devstack.contracts import SchemaCheck

_GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("^{}\\[~]|€\f")
_TO = re.compile(r"\+[1-9]\d{1,14}|[a-z]+:.+")
_MAX_BODY = 1600
_INTEGERS = frozenset(("Attempt", "ValidityPeriod"))
_NUMBERS = frozenset(("MaxPrice",))
_BOOLEANS = frozenset(("ProvideFeedback", "ForceDelivery", "SmartEncoded", "ShortenUrls", "SendAsMms"))
_LISTS = frozenset(("MediaUrl", "PersistentAction"))

MESSAGES = {
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    20500: "Internal Server Error",
    20503: "Service unavailable",
    21211: "The 'To' number is not a valid phone number.",
    21408: "Permission to send an SMS has not been enabled for the region indicated by the 'To' number",
    21602: "Message body is required.",
    21603: "A 'From' or 'MessagingServiceSid' parameter is required to send a message",
    21604: "A 'To' phone number is required.",
    21610: "Attempt to send to unsubscribed recipient",
    21612: "The 'To' phone number is not currently reachable via SMS",
    21614: "'To' number is not a valid mobile number",
    21617: "The concatenated message body exceeds the 1600 character limit",
    20001: "Unknown parameters",
}
# Twilio's own magic numbers for tests (https://www.twilio.com/docs/iam/test-credentials#test-sms-messages-parameters-To)
MAGIC_TO = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
# Ours: +150055 and an error code is accepted and becomes undelivered with that code.
_UNDELIVERED_TO = re.compile(r"\+150055(3\d{4})")


@dataclass(frozen=True)
class Override:
    """Connection overrides in the fragment of a callback URL: how often to try again, and on what."""

    retries: int
    policies: frozenset[str]

    def covers(self, status: int) -> bool:
        """Whether an answer with this HTTP status (0: none came) is tried again."""
        if 200 <= status < 300:
            return False
        failure = {0: "ct", 4: "4xx", 5: "5xx"}.get(status // 100, "")
        return bool(self.policies & {failure, "all"})


def connection_overrides(url: str) -> Override:
    """`#rc=5&rp=all`; by default one more try, and only when the connection failed."""
    named = dict(parse_qsl(urldefrag(url).fragment))
    count = named.get("rc", "1")
    return Override(min(int(count), 5) if count.isdecimal() else 1, frozenset(named.get("rp", "ct").split(",")))


def refusal(form: Mapping[str, Sequence[str]], check: SchemaCheck | None) -> tuple[int, str] | None:
    """The error code and message with which a form is refused; None accepts it."""
    first = {name: values[0] for name, values in form.items() if values}
    if not first.get("To"):
        return 21604, MESSAGES[21604]
    if not _TO.fullmatch(first["To"]):
        return 21211, f"The 'To' number {first['To']} is not a valid phone number."
    if not (first.get("From") or first.get("MessagingServiceSid")):
        return 21603, MESSAGES[21603]
    if not (first.get("Body") or first.get("MediaUrl") or first.get("ContentSid")):
        return 21602, MESSAGES[21602]
    if len(first.get("Body", "")) > _MAX_BODY:
        return 21617, MESSAGES[21617]
    wrong = check(_typed(form)) if check is not None else []
    if wrong:
        return 20001, "; ".join(f"{one.field}: {one.message}" for one in wrong)
    magic = MAGIC_TO.get(first["To"])
    return (magic, MESSAGES[magic]) if magic is not None else None


def undelivered_code(to: str) -> int | None:
    """The error code that a number of our convention asks for."""
    asked = _UNDELIVERED_TO.fullmatch(to)
    return int(asked.group(1)) if asked else None


def _typed(form: Mapping[str, Sequence[str]]) -> dict[str, object]:
    return {name: _value(name, values) for name, values in form.items()}


def _value(name: str, values: Sequence[str]) -> object:
    text = values[0]
    if name in _LISTS:
        return list(values)
    if name in _BOOLEANS and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if name in _INTEGERS and text.lstrip("-").isdecimal():
        return int(text)
    if name in _NUMBERS and text.replace(".", "", 1).isdecimal():
        return float(text)
    return text


def segments(text: str) -> int:
    """How many SMS a text makes: GSM-7 160 in one or 153 each (extension characters count two), else UCS-2 70 or 67."""
    if all(char in _GSM_BASIC or char in _GSM_EXTENDED for char in text):
        length, single, each = sum(2 if char in _GSM_EXTENDED else 1 for char in text), 160, 153
    else:
        length, single, each = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= single else math.ceil(length / each)


def signature(token: str, url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """X-Twilio-Signature: base64 of HMAC-SHA1 by the auth token over the URL as requested (so without the fragment) and
    every parameter's name and value, sorted by name, the values of one name sorted and without repeats."""
    signed = urldefrag(url).url + "".join(name + value for name, value in sorted(set(parameters)))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
