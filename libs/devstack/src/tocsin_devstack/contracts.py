"""Checks requests against the providers' own OpenAPI documents, where their folder is given."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

_FORMATS = FormatChecker(formats=("email", "uri", "date-time", "date"))
_PROJECT = Path(__file__).parents[4]  # this is libs/devstack/src/tocsin_devstack/contracts.py


def provider_documents() -> Path | None:
    """`../shared/provider-contracts` seen from the project's root; None where it is absent, as in a plain clone."""
    folder = _PROJECT.parent / "shared" / "provider-contracts"
    return folder if folder.is_dir() else None


@dataclass(frozen=True)
class Violation:
    """What is wrong with a request; `field` dotted, None for the whole."""

    field: str | None
    message: str


class SchemaCheck:
    """One schema of an OpenAPI document, with the document's components in reach."""

    def __init__(self, document: Path, pointer: str) -> None:
        """`pointer` is the JSON pointer of the schema, without the leading '#'."""
        content: dict[str, Any] = json.loads(document.read_text())
        schema = {"$ref": f"#{pointer}", "paths": content["paths"], "components": content["components"]}
        self._validator = Draft202012Validator(schema, format_checker=_FORMATS)

    def __call__(self, value: object) -> list[Violation]:
        """Every way in which `value` breaks the schema."""
        return [
            Violation(".".join(str(part) for part in error.absolute_path) or None, error.message)
            for error in self._validator.iter_errors(value)
        ]


def sendgrid_mail_send(folder: Path) -> SchemaCheck:
    """The body of POST /v3/mail/send."""
    pointer = "/components/requestBodies/PostMailSend/content/application~1json/schema"
    return SchemaCheck(folder / "sendgrid_mail_send.corrected.openapi.json", pointer)


def twilio_create_message(folder: Path) -> SchemaCheck:
    """The form of POST Messages.json, its values turned into the types of the document first."""
    path = "~12010-04-01~1Accounts~1{AccountSid}~1Messages.json"
    pointer = f"/paths/{path}/post/requestBody/content/application~1x-www-form-urlencoded/schema"
    return SchemaCheck(folder / "twilio_messages.corrected.openapi.json", pointer)
