"""Which versions of people's profiles are known here, summed up to be compared with the evaluator's."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, statement


@dataclass(frozen=True, order=True)
class ProfileSum:
    """A partner's profiles, or a part of them (the lowest byte of the user ids): how many, and the exclusive or over
    the hashes of (user, version)."""

    partner_id: int
    part: int
    count: int
    xor: int


# All contacts of all partners, or of one by primary key; the evaluator sums its people by the same expressions.
_SUMS = statement(
    """
SELECT partner_id, :part_mask & user_id AS part, count(*), bit_xor(hashint8extended(user_id, version))
FROM contacts WHERE :partner_id IS NULL OR partner_id = :partner_id
GROUP BY 1, 2 ORDER BY 1, 2
""",
    partner_id=BIG,
    part_mask=BIG,
)


async def contact_sums(connection: Connection, partner_id: int | None) -> list[ProfileSum]:
    """A line per partner, or of one partner a line per part."""
    mask = 0 if partner_id is None else 255
    rows = await connection.execute(_SUMS, {"partner_id": partner_id, "part_mask": mask})
    return [ProfileSum(*row) for row in rows]
