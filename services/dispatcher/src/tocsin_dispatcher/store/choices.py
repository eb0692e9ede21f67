"""Writing what users and partners choose."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Time

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.recipients import partner_choices
from tocsin_dispatcher.store.statement import AMOUNT, BIG, FLAG, INSTANT, SMALL, TEXT, TEXTS, statement
from tocsin_dispatcher.values import PartnerChoices, Preferences

# Primary key. Who has chosen nothing yet gets a row of defaults, so that there is one to be locked.
_LOCK_PREFERENCES = statement(
    """
INSERT INTO preferences AS p (partner_id, user_id, updated_at) VALUES (:partner_id, :user_id, :now)
ON CONFLICT (partner_id, user_id) DO UPDATE SET updated_at = p.updated_at
""",
    partner_id=BIG,
    user_id=BIG,
    now=INSTANT,
)

# Primary key.
_PUT_PREFERENCES = statement(
    """
INSERT INTO preferences (partner_id, user_id, email_enabled, sms_enabled, push_enabled, overrides, quiet_hours_enabled,
                         quiet_hours_start, quiet_hours_end, max_per_hour, max_per_day, digest_hour, hide_amounts,
                         updated_at)
VALUES (:partner_id, :user_id, :email, :sms, :push, CAST(:overrides AS jsonb), :quiet, :start, :end, :per_hour,
        :per_day, :digest_hour, :hide_amounts, :now)
ON CONFLICT (partner_id, user_id) DO UPDATE
   SET email_enabled = excluded.email_enabled, sms_enabled = excluded.sms_enabled,
       push_enabled = excluded.push_enabled, overrides = excluded.overrides,
       quiet_hours_enabled = excluded.quiet_hours_enabled, quiet_hours_start = excluded.quiet_hours_start,
       quiet_hours_end = excluded.quiet_hours_end, max_per_hour = excluded.max_per_hour,
       max_per_day = excluded.max_per_day, digest_hour = excluded.digest_hour, hide_amounts = excluded.hide_amounts,
       updated_at = excluded.updated_at
""",
    partner_id=BIG,
    user_id=BIG,
    email=FLAG,
    sms=FLAG,
    push=FLAG,
    overrides=TEXT,
    quiet=FLAG,
    start=Time(),
    end=Time(),
    per_hour=SMALL,
    per_day=SMALL,
    digest_hour=SMALL,
    hide_amounts=FLAG,
    now=INSTANT,
)

# Primary key.
_GET_PARTNER = statement(
    """
SELECT max_per_hour AS ceiling_per_hour, max_per_day AS ceiling_per_day, sms_segments,
       mandatory_kinds, countries, price_per_segment
  FROM partner_settings WHERE partner_id = :partner_id FOR NO KEY UPDATE
""",
    partner_id=BIG,
)

# Primary key.
_PUT_PARTNER = statement(
    """
INSERT INTO partner_settings (partner_id, max_per_hour, max_per_day, sms_segments, mandatory_kinds, countries,
                              price_per_segment, updated_at)
VALUES (:partner_id, :per_hour, :per_day, :segments, :kinds, :countries, :price, :now)
ON CONFLICT (partner_id) DO UPDATE
   SET max_per_hour = excluded.max_per_hour, max_per_day = excluded.max_per_day, sms_segments = excluded.sms_segments,
       mandatory_kinds = excluded.mandatory_kinds, countries = excluded.countries,
       price_per_segment = excluded.price_per_segment, updated_at = excluded.updated_at
""",
    partner_id=BIG,
    per_hour=SMALL,
    per_day=SMALL,
    segments=SMALL,
    kinds=TEXTS,
    countries=TEXTS,
    price=AMOUNT,
    now=INSTANT,
)


async def lock_preferences(connection: Connection, user: UserKey, now: datetime) -> None:
    """Let nobody else change this user's preferences until the transaction ends, also where there are none yet."""
    await connection.execute(_LOCK_PREFERENCES, {**user._asdict(), "now": now})


async def put_preferences(connection: Connection, user: UserKey, chosen: Preferences, now: datetime) -> None:
    """Store a user's preferences whole."""
    await connection.execute(
        _PUT_PREFERENCES,
        {
            **user._asdict(),
            "email": chosen.email_enabled,
            "sms": chosen.sms_enabled,
            "push": chosen.push_enabled,
            "overrides": json.dumps([[kind, channel, on] for (kind, channel), on in chosen.overrides.items()]),
            "quiet": chosen.quiet_hours.enabled,
            "start": chosen.quiet_hours.start,
            "end": chosen.quiet_hours.end,
            "per_hour": chosen.max_per_hour,
            "per_day": chosen.max_per_day,
            "digest_hour": chosen.digest_hour,
            "hide_amounts": chosen.hide_amounts,
            "now": now,
        },
    )


async def get_partner(connection: Connection, partner_id: int) -> PartnerChoices:
    """What a partner has chosen, locked where there is anything."""
    row = (await connection.execute(_GET_PARTNER, {"partner_id": partner_id})).one_or_none()
    return PartnerChoices() if row is None else partner_choices(row)


async def put_partner(connection: Connection, partner_id: int, chosen: PartnerChoices, now: datetime) -> None:
    """Store a partner's choices whole."""
    await connection.execute(
        _PUT_PARTNER,
        {
            "partner_id": partner_id,
            "per_hour": chosen.max_per_hour,
            "per_day": chosen.max_per_day,
            "segments": chosen.sms_segments,
            "kinds": sorted(chosen.mandatory_kinds),
            "countries": list(chosen.countries),
            "price": chosen.price_per_segment,
            "now": now,
        },
    )
