"""What SendGrid refuses in a Mail Send request beyond its schema, with its own words.

Source: the Mail Send errors page (https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors) and the v3
overview. Checked whether or not the OpenAPI document is at hand.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tocsin_devstack.contracts import Violation

_RESERVED_HEADERS = frozenset(
    (
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    )
)
_MAX_RECIPIENTS = 1000
_MAX_CUSTOM_ARGS = 10_000  # bytes; the errors page says 50,000, the overview and the document 10,000
_MAX_TOTAL = 30 * 1024 * 1024
_LATEST_SEND = timedelta(hours=72)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_KEY = re.compile(r"[\x21-\x7e]+")


def rules(mail: object, size: int, now: datetime) -> list[Violation]:
    """Everything wrong with a parsed Mail Send body of `size` bytes."""
    if not isinstance(mail, dict):
        return [Violation(None, "Bad Request")]
    return [
        *_sizes(mail, size),
        *_recipients(mail),
        *_sender(mail),
        *_subject(mail),
        *_content(mail),
        *_headers(mail),
        *_custom_args(mail),
        *_send_at(mail, now),
    ]


def _personalizations(mail: dict[str, Any]) -> list[dict[str, Any]]:
    found = mail.get("personalizations")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _sizes(mail: dict[str, Any], size: int) -> Iterator[Violation]:
    if size > _MAX_TOTAL:
        yield Violation(None, "The total size of your email, including attachments, must be less than 30MB.")
    if "reply_to" in mail and "reply_to_list" in mail:
        yield Violation("reply_to_list", "reply_to and reply_to_list cannot be used together.")


def _recipients(mail: dict[str, Any]) -> Iterator[Violation]:
    blocks = _personalizations(mail)
    if not blocks:
        yield Violation("personalizations", "You must have at least one personalization.")
    seen: set[str] = set()
    total = 0
    for number, block in enumerate(blocks):
        if not block.get("to"):
            yield Violation(
                f"personalizations.{number}.to", "The to parameter is required for all personalization objects."
            )
        for person in (one for group in ("to", "cc", "bcc") for one in block.get(group) or ()):
            total += 1
            address = str(person.get("email", "")).lower() if isinstance(person, dict) else ""
            if address in seen:
                yield Violation(
                    f"personalizations.{number}",
                    "Each unique email address in the `personalizations` array should only be included once. "
                    f"You have included [{address}] more than once.",
                )
            seen.add(address)
    if total > _MAX_RECIPIENTS:
        yield Violation("personalizations", "There is a limit of 1000 total recipients (to + cc + bcc) per request.")


def _sender(mail: dict[str, Any]) -> Iterator[Violation]:
    sender = mail.get("from")
    if sender is None:
        yield Violation("from", "The `from` object must be provided for every email send.")
    elif not (isinstance(sender, dict) and "@" in str(sender.get("email", ""))):
        yield Violation(
            "from.email", "The from object must at least have an `email` parameter with a valid email address"
        )
    elif _CONTROL.search(str(sender.get("name", ""))):
        yield Violation("from.name", "The from name can't contain CRLF characters.")


def _subject(mail: dict[str, Any]) -> Iterator[Violation]:
    blocks = _personalizations(mail)
    subjects = [mail.get("subject"), *(block.get("subject") for block in blocks)]
    everywhere = bool(blocks) and all(block.get("subject") for block in blocks)
    if not (mail.get("subject") or mail.get("template_id") or everywhere):
        yield Violation(
            "subject",
            "The subject is required. You can get around this requirement if you use a template with a subject defined "
            "or if every personalization has a subject defined.",
        )
    if any(isinstance(subject, str) and _CONTROL.search(subject) for subject in subjects):
        yield Violation("subject", "The subject can't contain CRLF characters.")


def _content(mail: dict[str, Any]) -> Iterator[Violation]:
    parts = mail.get("content")
    if not parts:
        if not mail.get("template_id"):
            yield Violation(
                "content",
                "The `content` param is required unless you are using a transactional template and have defined a "
                "template_ID.",
            )
        return
    types = [str(part.get("type", "")) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    if any(";" in kind or _CONTROL.search(kind) for kind in types):
        yield Violation("content.type", "Cannot contain ';', or CRLF characters.")
    rank = {"text/plain": 0, "text/html": 1}
    ranks = [rank.get(kind, 2) for kind in types]
    if ranks != sorted(ranks):
        yield Violation(
            "content",
            "Following RFC 1341, section 7.2, if either text/html or text/plain are to be sent in your email: "
            "text/plain needs to be first, followed by text/html, followed by any other content.",
        )


def _headers(mail: dict[str, Any]) -> Iterator[Violation]:
    for place, block in (("headers", mail), *_places(mail, "headers")):
        headers = block.get("headers")
        if not isinstance(headers, dict):
            continue
        if len({key.lower() for key in headers}) < len(headers):
            yield Violation(place, "The headers can't contain duplicate keys.")
        for key, value in headers.items():
            if key.lower() in _RESERVED_HEADERS:
                yield Violation(f"{place}.{key}", "Header can't be one of the reserved keys.")
            if not _HEADER_KEY.fullmatch(key):
                yield Violation(f"{place}.{key}", "Header keys can't contain non-ASCII characters or empty spaces.")
            if not isinstance(value, str):
                yield Violation(f"{place}.{key}", "All values of the headers object must be strings.")
            elif _CONTROL.search(value):
                yield Violation(f"{place}.{key}", "Header values can't contain CRLF characters.")


def _custom_args(mail: dict[str, Any]) -> Iterator[Violation]:
    given = mail.get("custom_args")
    common = given if isinstance(given, dict) else {}
    for place, block in (("custom_args", mail), *_places(mail, "custom_args")):
        arguments = block.get("custom_args")
        if not isinstance(arguments, dict):
            continue
        if not all(isinstance(value, str) for value in arguments.values()):
            yield Violation(place, "All values of custom arguments object must be strings")
        if len(json.dumps({**common, **arguments}).encode()) > _MAX_CUSTOM_ARGS:
            yield Violation(
                place,
                "The combined size of both global and personalization custom arguments may not exceed 10,000 bytes per "
                "personalization.",
            )


def _send_at(mail: dict[str, Any], now: datetime) -> Iterator[Violation]:
    for place, block in (("send_at", mail), *_places(mail, "send_at")):
        instant = block.get("send_at")
        if isinstance(instant, int) and instant > (now + _LATEST_SEND).timestamp():
            yield Violation(place, "Scheduling more than 72 hours in advance is forbidden.")


def _places(mail: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    return [(f"personalizations.{number}.{name}", block) for number, block in enumerate(_personalizations(mail))]
