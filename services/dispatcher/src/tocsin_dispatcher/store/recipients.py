"""Who is told, and how: contacts, preferences and their partner's settings, read together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, FLAG, INSTANT, TEXT, RowSet, statement
from tocsin_dispatcher.values import (
    AlertKind,
    Channel,
    Contact,
    PartnerChoices,
    PartnerSettings,
    Preferences,
    QuietHours,
)


@dataclass(frozen=True)
class Defaults:
    """What holds for a user or partner who has not said otherwise; from the settings."""

    per_hour: int
    per_day: int

    @property
    def partner(self) -> PartnerSettings:
        """A partner's."""
        return PartnerSettings(max_per_hour=self.per_hour, max_per_day=self.per_day)


@dataclass(frozen=True)
class KnownRecipient:
    """All that is stored about one user."""

    contact: Contact | None
    preferences: Preferences
    partner: PartnerSettings


@dataclass(frozen=True)
class Profile:
    """A profile as the bank vouches for it; `as_of` becomes the instant of verification."""

    contact: Contact
    email_verified: bool
    phone_verified: bool
    as_of: datetime


_USERS = RowSet("k", partner_id=BIG, user_id=BIG)

# Primary keys of all three.
_READ = statement(
    f"""
SELECT k.partner_id, k.user_id,
       c.email, coalesce(c.email_verified_at, c.email_confirmed_at) AS email_verified_at,
       c.phone, coalesce(c.phone_verified_at, c.phone_confirmed_at) AS phone_verified_at,
       c.locale, c.time_zone, c.version,
       p.email_enabled, p.sms_enabled, p.push_enabled, p.overrides, p.quiet_hours_enabled, p.quiet_hours_start,
       p.quiet_hours_end, p.max_per_hour, p.max_per_day, p.digest_hour, p.hide_amounts,
       s.max_per_hour AS ceiling_per_hour, s.max_per_day AS ceiling_per_day, s.sms_segments, s.mandatory_kinds,
       s.countries, s.price_per_segment
  FROM {_USERS}
  LEFT JOIN contacts c ON c.partner_id = k.partner_id AND c.user_id = k.user_id
  LEFT JOIN preferences p ON p.partner_id = k.partner_id AND p.user_id = k.user_id
  LEFT JOIN partner_settings s ON s.partner_id = k.partner_id
""",  # noqa: S608 - the row set is of our own making
    _USERS,
)

_PROFILES = RowSet(
    "x",
    partner_id=BIG,
    user_id=BIG,
    email=TEXT,
    phone=TEXT,
    email_verified=FLAG,
    phone_verified=FLAG,
    locale=TEXT,
    time_zone=TEXT,
    version=BIG,
    as_of=INSTANT,
)

# Rows are locked by key; an older version never overwrites a newer one. An address that stays verified keeps the
# instant it was verified at. What a person has proved by a code the bank's silence does not take back: only another
# address does.
_PUT = statement(
    f"""
INSERT INTO contacts AS c (partner_id, user_id, email, email_verified_at, phone, phone_verified_at, locale, time_zone,
                           version)
SELECT x.partner_id, x.user_id, x.email, CASE WHEN x.email_verified THEN x.as_of END,
       x.phone, CASE WHEN x.phone_verified THEN x.as_of END, x.locale, x.time_zone, x.version
  FROM {_PROFILES}
 ORDER BY x.partner_id, x.user_id
ON CONFLICT (partner_id, user_id) DO UPDATE
   SET email = excluded.email, phone = excluded.phone, locale = excluded.locale, time_zone = excluded.time_zone,
       version = excluded.version,
       email_confirmed_at = CASE WHEN c.email = excluded.email THEN c.email_confirmed_at END,
       phone_confirmed_at = CASE WHEN c.phone = excluded.phone THEN c.phone_confirmed_at END,
       email_verified_at = CASE WHEN c.email = excluded.email AND excluded.email_verified_at IS NOT NULL
                                THEN coalesce(c.email_verified_at, excluded.email_verified_at)
                                ELSE excluded.email_verified_at END,
       phone_verified_at = CASE WHEN c.phone = excluded.phone AND excluded.phone_verified_at IS NOT NULL
                                THEN coalesce(c.phone_verified_at, excluded.phone_verified_at)
                                ELSE excluded.phone_verified_at END
 WHERE c.version < excluded.version
""",  # noqa: S608 - the row set is of our own making
    _PROFILES,
)


async def recipients(
    connection: Connection, users: Sequence[UserKey], defaults: Defaults
) -> Mapping[UserKey, KnownRecipient]:
    """What is known of each of `users`."""
    rows = await connection.execute(_READ, _USERS.filled(sorted(set(users))))
    return {UserKey(row.partner_id, row.user_id): _known(row, defaults) for row in rows}


async def put_profiles(connection: Connection, profiles: Sequence[Profile]) -> None:
    """Store the newest version of each person's profile; at most one per person."""
    rows = [
        (
            profile.contact.partner_id,
            profile.contact.user_id,
            profile.contact.email,
            profile.contact.phone,
            profile.email_verified,
            profile.phone_verified,
            profile.contact.locale,
            profile.contact.time_zone,
            profile.contact.version,
            profile.as_of,
        )
        for profile in profiles
    ]
    await connection.execute(_PUT, _PROFILES.filled(rows))


def _known(row: Row[Any], defaults: Defaults) -> KnownRecipient:
    partner = partner_choices(row).settings(defaults.partner)
    return KnownRecipient(_contact(row), _preferences(row, defaults), partner)


def _contact(row: Row[Any]) -> Contact | None:
    if row.version is None:
        return None
    return Contact(
        partner_id=row.partner_id,
        user_id=row.user_id,
        email=row.email,
        email_verified_at=row.email_verified_at,
        phone=row.phone,
        phone_verified_at=row.phone_verified_at,
        locale=row.locale,
        time_zone=row.time_zone,
        version=row.version,
    )


def _preferences(row: Row[Any], defaults: Defaults) -> Preferences:
    if row.email_enabled is None:
        return Preferences(max_per_hour=defaults.per_hour, max_per_day=defaults.per_day)
    return Preferences(
        email_enabled=row.email_enabled,
        sms_enabled=row.sms_enabled,
        push_enabled=row.push_enabled,
        overrides={(AlertKind(kind), Channel(channel)): on for kind, channel, on in row.overrides},
        quiet_hours=QuietHours(row.quiet_hours_enabled, row.quiet_hours_start, row.quiet_hours_end),
        max_per_hour=defaults.per_hour if row.max_per_hour is None else row.max_per_hour,
        max_per_day=defaults.per_day if row.max_per_day is None else row.max_per_day,
        digest_hour=row.digest_hour,
        hide_amounts=row.hide_amounts,
    )


def partner_choices(row: Row[Any]) -> PartnerChoices:
    """What a partner has chosen, in a row that may have it."""
    return PartnerChoices(
        max_per_hour=row.ceiling_per_hour,
        max_per_day=row.ceiling_per_day,
        sms_segments=row.sms_segments,
        mandatory_kinds=frozenset(AlertKind(kind) for kind in row.mandatory_kinds or ()),
        countries=tuple(row.countries or ()),
        price_per_segment=row.price_per_segment,
    )
