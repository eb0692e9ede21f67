"""A bank's templates: what a version is for, and what it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from tocsin_dispatcher.values.firing import Channel
from tocsin_dispatcher.values.telling import TemplateKind


class Part(StrEnum):
    """A part of a message that a template renders."""

    SUBJECT = "subject"
    """An e-mail's subject; the title of a push or inbox message."""
    TEXT = "text"
    HTML = "html"


PARTS: Mapping[Channel, tuple[Part, ...]] = {
    Channel.EMAIL: (Part.SUBJECT, Part.TEXT, Part.HTML),
    Channel.SMS: (Part.TEXT,),
    Channel.IN_APP: (Part.SUBJECT, Part.TEXT),
    Channel.PUSH: (Part.SUBJECT, Part.TEXT),
}
"""The parts of each channel's messages, all of which a template gives. Webhooks have none."""

Sources = Mapping[str, str]
"""Template sources by part."""


class Slot(NamedTuple):
    """What one version at a time is active for."""

    kind: TemplateKind
    channel: Channel
    locale: str | None
    """BCP 47; None: every locale that the bank has none for."""


@dataclass(frozen=True, slots=True)
class ActiveTemplate:
    """A version in force."""

    partner_id: int
    id: UUID
    slot: Slot
    sources: Sources


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """A version as its row stands."""

    partner_id: int
    id: UUID
    slot: Slot
    version: int
    """Counts from 1 within its slot."""
    name: str
    sources: Sources
    variables: tuple[str, ...]
    """Those that its sources use."""
    active: bool
    activated_at: datetime | None
    created_at: datetime
    created_by: str
    failures: int
    """At send time."""
    last_failed_at: datetime | None
    last_failure: str
    """The part, the line and what went wrong; empty where nothing did."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The texts of a template that is tried, rendered when it was asked for."""

    kind: TemplateKind
    subject: str
    text: str
    html: str
