"""Profile events for the dispatcher, kept sealed for some days: what was lost on the way can be told again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

#: How many parts a partner's users are compared in.
PARTS = 256


@dataclass(frozen=True)
class Copy:
    """The event of a profile's version, sealed under the name of (partner, user, version)."""

    partner_id: int
    user_id: int
    version: int
    sealed: bytes

    @property
    def name(self) -> str:
        """What the event is sealed under, and its first message id."""
        return f"{self.partner_id}:{self.user_id}:{self.version}"


@dataclass(frozen=True)
class Sum:
    """A partner's profiles, or a part of them: how many, and the exclusive or over the hashes of (user, version)."""

    partner_id: int
    part: int
    count: int
    xor: int


# By primary key. Only the newest event of a person is worth telling again.
_KEEP = text("""
INSERT INTO profile_copies (partner_id, user_id, version, sealed, at)
SELECT partner_id, user_id, version, sealed, :at
FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:user_ids AS bigint[]), CAST(:versions AS bigint[]),
            CAST(:sealed AS bytea[])) AS told(partner_id, user_id, version, sealed)
ORDER BY partner_id, user_id
ON CONFLICT (partner_id, user_id) DO UPDATE
SET version = excluded.version, sealed = excluded.sealed, at = excluded.at
WHERE profile_copies.version < excluded.version
""")

# All people of all partners, or of one by primary key; the dispatcher sums its contacts by the same expressions.
_SUMS = text("""
SELECT partner_id, CAST(:part_mask AS bigint) & user_id AS part, count(*), bit_xor(hashint8extended(user_id, version))
FROM people WHERE CAST(:partner_id AS bigint) IS NULL OR partner_id = :partner_id
GROUP BY 1, 2 ORDER BY 1, 2
""")

# By primary key. What was told just now may still be on its way.
_OF_PARTS = text("""
SELECT partner_id, user_id, version, sealed FROM profile_copies
WHERE partner_id = :partner_id AND user_id > :after AND at < :before
  AND CAST(:part_mask AS bigint) & user_id = ANY (CAST(:parts AS bigint[]))
ORDER BY user_id LIMIT :n
""")


async def keep(connection: AsyncConnection, copies: Sequence[Copy], at: datetime) -> None:
    """Keep the events of profiles that were just written."""
    if not copies:
        return
    parameters: dict[str, object] = {
        "partner_ids": [each.partner_id for each in copies],
        "user_ids": [each.user_id for each in copies],
        "versions": [each.version for each in copies],
        "sealed": [each.sealed for each in copies],
        "at": at,
    }
    await connection.execute(_KEEP, parameters)


async def sums(connection: AsyncConnection, partner_id: int | None) -> list[Sum]:
    """A line per partner, or of one partner a line per part (the lowest byte of a user's id)."""
    mask = 0 if partner_id is None else PARTS - 1
    rows = await connection.execute(_SUMS, {"partner_id": partner_id, "part_mask": mask})
    return [Sum(*row) for row in rows]


async def of_parts(
    connection: AsyncConnection, partner_id: int, parts: Sequence[int], before: datetime, after: int, n: int
) -> list[Copy]:
    """At most `n` copies of the users of some parts, told before an instant, by user id, from beyond `after` on."""
    rows = await connection.execute(
        _OF_PARTS,
        {
            "partner_id": partner_id,
            "parts": list(parts),
            "part_mask": PARTS - 1,
            "before": before,
            "after": after,
            "n": n,
        },
    )
    return [Copy(*row) for row in rows]
