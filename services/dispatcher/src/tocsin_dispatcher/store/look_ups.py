"""What a look-up needs to know of an attempt, and of the provider's other messages."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, SMALL, TEXT, UUID_, statement

# Primary key.
_ATTEMPT = statement(
    """
SELECT provider, credential, started_at, possible_duplicate FROM attempts
 WHERE partner_id = :partner_id AND delivery_id = :id AND number = :number
""",
    partner_id=BIG,
    id=UUID_,
    number=SMALL,
)

# Index deliveries_of_provider; the provider's ids are the same for all partners of one account.
_TAKEN = statement(
    "SELECT id FROM deliveries WHERE provider = :provider AND provider_id = :provider_id AND id <> :id LIMIT 1",
    provider=TEXT,
    provider_id=TEXT,
    id=UUID_,
)


async def attempt_begun(
    connection: Connection, key: DeliveryKey, number: int
) -> tuple[str, str, datetime, bool] | None:
    """Provider, credential, start and mark of an attempt."""
    values = {"partner_id": key.partner_id, "id": key.id, "number": number}
    row = (await connection.execute(_ATTEMPT, values)).one_or_none()
    return None if row is None else (row.provider, row.credential, row.started_at, row.possible_duplicate)


async def is_taken(connection: Connection, provider: str, provider_id: str, not_by: UUID) -> bool:
    """Whether another delivery is known to be the provider's message of this id."""
    values = {"provider": provider, "provider_id": provider_id, "id": not_by}
    return (await connection.execute(_TAKEN, values)).first() is not None
