"""Banks' templates: versions, and which are in force. Every statement names the bank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.statement import (
    BIG,
    FLAG,
    INSTANT,
    SMALL,
    TEXT,
    TEXTS,
    UUID_,
    UUIDS,
    Parameter,
    RowSet,
    statement,
)
from tocsin_dispatcher.values import (
    ActiveTemplate,
    Channel,
    Part,
    Slot,
    Sources,
    TemplateKind,
    TemplateVersion,
)


@dataclass(frozen=True, slots=True)
class WantedTemplates:
    """Which versions to list; None does not filter. `locale` empty: those for every other locale."""

    kind: TemplateKind | None = None
    channel: Channel | None = None
    locale: str | None = None
    only_active: bool = False


@dataclass(frozen=True, slots=True)
class Revised:
    """A bank's templates in force, and the revision that they are."""

    revision: int
    templates: tuple[ActiveTemplate, ...]


@dataclass(frozen=True, slots=True)
class FailedVersion:
    """How often a version failed since the last time it was written, and how it did last."""

    partner_id: int
    id: UUID
    failures: int
    last_failed_at: datetime
    last_failure: str


_MINE: Mapping[str, Parameter] = {"partner_id": BIG, "id": UUID_}
_REMEMBERED = 50
"""Versions that can be rolled back to, one after the other."""
_KNOWN = RowSet("w", partner_id=BIG, revision=BIG)

# Primary key of template_partners, then index templates_active: only of banks whose revision is another than the known
# one, so that looking costs no source that is known already.
_NEWS = statement(
    f"""
SELECT p.partner_id, p.revision, t.id, t.kind, t.channel, t.locale, t.subject, t.body, t.html
  FROM {_KNOWN}
  JOIN template_partners p ON p.partner_id = w.partner_id AND p.revision <> w.revision
  LEFT JOIN templates t ON t.partner_id = p.partner_id AND t.active
""",  # noqa: S608 - the row set is of our own making
    _KNOWN,
)

# Primary key. Every change of what is in force begins here: so changes of one bank follow each other, and versions are
# numbered without gaps.
_LOCK = statement(
    """
INSERT INTO template_partners AS p (partner_id, revision) VALUES (:partner_id, 0)
ON CONFLICT (partner_id) DO UPDATE SET revision = p.revision
""",
    partner_id=BIG,
)

# Primary key; the bank is locked.
_RAISE = statement(
    "UPDATE template_partners SET revision = revision + 1 WHERE partner_id = :partner_id", partner_id=BIG
)

# The bank's versions, by templates_versions or templates_listed; the bank is locked.
_INSERT = statement(
    """
INSERT INTO templates (partner_id, id, kind, channel, locale, version, name, subject, body, html, variables, created_at,
                       created_by)
SELECT :partner_id, :id, :kind, :channel, :locale,
       1 + coalesce((SELECT t.version FROM templates t
                      WHERE t.partner_id = :partner_id AND t.kind = :kind AND t.channel = :channel
                        AND (t.locale = :locale OR t.locale IS NULL AND :locale IS NULL)
                      ORDER BY t.version DESC LIMIT 1), 0),
       :name, :subject, :body, :html, :variables, :now, :created_by
RETURNING *
""",
    **_MINE,
    kind=TEXT,
    channel=TEXT,
    locale=TEXT,
    name=TEXT,
    subject=TEXT,
    body=TEXT,
    html=TEXT,
    variables=TEXTS,
    now=INSTANT,
    created_by=TEXT,
)

# Primary key.
_GET = statement("SELECT * FROM templates WHERE partner_id = :partner_id AND id = :id", **_MINE)

# Index templates_listed.
_LIST = statement(
    """
SELECT * FROM templates t
 WHERE t.partner_id = :partner_id
   AND (CAST(:kind AS text) IS NULL OR t.kind = :kind)
   AND (CAST(:channel AS text) IS NULL OR t.channel = :channel)
   AND (CAST(:locale AS text) IS NULL OR coalesce(t.locale, '') = :locale)
   AND (NOT :only_active OR t.active)
   AND (CAST(:after_at AS timestamptz) IS NULL OR (t.created_at, t.id) < (:after_at, :after_id))
 ORDER BY t.created_at DESC, t.id DESC
 LIMIT :size
""",
    partner_id=BIG,
    kind=TEXT,
    channel=TEXT,
    locale=TEXT,
    only_active=FLAG,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)

# Index templates_active; the bank is locked. Answers what was active in the version's place.
_DEACTIVATE = statement(
    """
UPDATE templates t SET active = false
  FROM templates v
 WHERE v.partner_id = :partner_id AND v.id = :id
   AND t.partner_id = v.partner_id AND t.kind = v.kind AND t.channel = v.channel
   AND (t.locale = v.locale OR t.locale IS NULL AND v.locale IS NULL) AND t.active
RETURNING t.id, t.replaced
""",
    **_MINE,
)

# Primary key; the bank is locked, and nothing is active in the version's place.
_ACTIVATE = statement(
    """
UPDATE templates SET active = true, activated_at = :now, replaced = :replaced
 WHERE partner_id = :partner_id AND id = :id
RETURNING *
""",
    **_MINE,
    now=INSTANT,
    replaced=UUIDS,
)

# Index templates_active; the bank is locked.
_IN_FORCE = statement(
    """
SELECT sum(octet_length(t.subject) + octet_length(t.body) + octet_length(t.html)) FROM templates t
 WHERE t.partner_id = :partner_id AND t.active
""",
    partner_id=BIG,
)

_FAILED = RowSet("x", partner_id=BIG, id=UUID_, failures=BIG, at=INSTANT, failure=TEXT)

# Primary key, locked in order.
_NOTE_FAILURES = statement(
    f"""
WITH failed AS (
  SELECT t.partner_id, t.id, x.failures, x.at, x.failure
    FROM {_FAILED}
    JOIN templates t ON t.partner_id = x.partner_id AND t.id = x.id
   ORDER BY t.partner_id, t.id
     FOR NO KEY UPDATE OF t
)
UPDATE templates t
   SET failures = t.failures + f.failures, last_failed_at = greatest(t.last_failed_at, f.at), last_failure = f.failure
  FROM failed f
 WHERE t.partner_id = f.partner_id AND t.id = f.id
""",  # noqa: S608 - the row set is of our own making
    _FAILED,
)


async def revised(connection: Connection, known: Mapping[int, int]) -> Mapping[int, Revised]:
    """What is in force at the banks whose revision is another than the known one (0: nothing is known)."""
    found: dict[int, tuple[int, list[ActiveTemplate]]] = {}
    for row in await connection.execute(_NEWS, _KNOWN.filled(sorted(known.items()))):
        _, templates = found.setdefault(row.partner_id, (row.revision, []))
        if row.id is not None:
            templates.append(ActiveTemplate(row.partner_id, row.id, _slot(row), _sources(row)))
    return {partner: Revised(revision, tuple(templates)) for partner, (revision, templates) in found.items()}


async def lock_bank(connection: Connection, partner_id: int) -> None:
    """Let no other transaction number or activate the bank's versions until this one ends."""
    await connection.execute(_LOCK, {"partner_id": partner_id})


async def raise_revision(connection: Connection, partner_id: int) -> None:
    """Have all replicas read again what is in force; the bank is locked."""
    await connection.execute(_RAISE, {"partner_id": partner_id})


async def insert(
    connection: Connection,
    partner_id: int,
    id_: UUID,
    slot: Slot,
    name: str,
    sources: Sources,
    variables: Iterable[str],
    now: datetime,
    created_by: str,
) -> TemplateVersion:
    """Add a version, the next number of its slot; the bank is locked."""
    values = {
        "partner_id": partner_id,
        "id": id_,
        **slot._asdict(),
        "name": name,
        **_columns(sources),
        "variables": list(variables),
        "now": now,
        "created_by": created_by,
    }
    return _version((await connection.execute(_INSERT, values)).one())


async def get(connection: Connection, partner_id: int, id_: UUID) -> TemplateVersion | None:
    """A bank's version; None where it has none of that id."""
    row = (await connection.execute(_GET, {"partner_id": partner_id, "id": id_})).one_or_none()
    return None if row is None else _version(row)


async def page(
    connection: Connection, partner_id: int, wanted: WantedTemplates, size: int, after: Place | None
) -> Sequence[TemplateVersion]:
    """A page of a bank's versions, newest first."""
    values = {
        "partner_id": partner_id,
        "kind": wanted.kind,
        "channel": wanted.channel,
        "locale": wanted.locale,
        "only_active": wanted.only_active,
        "after_at": after and after.created_at,
        "after_id": after and after.id,
        "size": size,
    }
    return [_version(row) for row in await connection.execute(_LIST, values)]


async def activate(connection: Connection, partner_id: int, id_: UUID, now: datetime) -> TemplateVersion:
    """Put a version in force in place of the one that is; the bank is locked, and has it."""
    before = await _deactivate(connection, partner_id, id_)
    stays = before is not None and before.id == id_
    replaced = [] if before is None else [*before.replaced, *([] if stays else [before.id])]
    return await _activate(connection, partner_id, id_, now, replaced)


async def size_in_force(connection: Connection, partner_id: int) -> int:
    """The bytes of the sources that are in force; the bank is locked."""
    return int(await connection.scalar(_IN_FORCE, {"partner_id": partner_id}) or 0)


async def roll_back(connection: Connection, partner_id: int, id_: UUID, now: datetime) -> TemplateVersion | None:
    """End an active version and put in force what was before it; None where that was the built-in template.

    The bank is locked, and the version active.
    """
    ended = await _deactivate(connection, partner_id, id_)
    if ended is None or not ended.replaced:
        return None
    return await _activate(connection, partner_id, ended.replaced[-1], now, ended.replaced[:-1])


async def _deactivate(connection: Connection, partner_id: int, id_: UUID) -> Row[Any] | None:
    """End what is active in a version's place, it or another; None where nothing is."""
    return (await connection.execute(_DEACTIVATE, {"partner_id": partner_id, "id": id_})).one_or_none()


async def _activate(
    connection: Connection, partner_id: int, id_: UUID, now: datetime, replaced: Sequence[UUID]
) -> TemplateVersion:
    values = {"partner_id": partner_id, "id": id_, "now": now, "replaced": list(replaced)[-_REMEMBERED:]}
    return _version((await connection.execute(_ACTIVATE, values)).one())


async def note_failures(connection: Connection, failed: Sequence[FailedVersion]) -> None:
    """Note on versions that they failed."""
    rows = [(one.partner_id, one.id, one.failures, one.last_failed_at, one.last_failure) for one in failed]
    await connection.execute(_NOTE_FAILURES, _FAILED.filled(rows))


def _columns(sources: Sources) -> Mapping[str, str]:
    return {
        "subject": sources.get(Part.SUBJECT, ""),
        "body": sources.get(Part.TEXT, ""),
        "html": sources.get(Part.HTML, ""),
    }


def _sources(row: Row[Any]) -> Sources:
    given = {Part.SUBJECT: row.subject, Part.TEXT: row.body, Part.HTML: row.html}
    return {part: source for part, source in given.items() if source}


def _slot(row: Row[Any]) -> Slot:
    return Slot(TemplateKind(row.kind), Channel(row.channel), row.locale)


def _version(row: Row[Any]) -> TemplateVersion:
    return TemplateVersion(
        partner_id=row.partner_id,
        id=row.id,
        slot=_slot(row),
        version=row.version,
        name=row.name,
        sources=_sources(row),
        variables=tuple(row.variables),
        active=row.active,
        activated_at=row.activated_at,
        created_at=row.created_at,
        created_by=row.created_by,
        failures=row.failures,
        last_failed_at=row.last_failed_at,
        last_failure=row.last_failure or "",
    )
