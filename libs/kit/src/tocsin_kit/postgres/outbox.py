"""The outbox: a message is written with its cause in one transaction, and stays until the broker has it.

A relay per class claims rows with SKIP LOCKED, publishes them and deletes what the broker acknowledged. It may
publish twice (it died between): the message id and every consumer's own key make that harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell, Loop, Spaced
from tocsin_kit.messaging.publisher import Outgoing, Publisher

#: What jobs tell of themselves waits behind nothing: a run's end is not to come after all it has fired.
JOB_EVENTS = "job-events"
#: The lanes, each with a relay of its own: the classes of work, most urgent first, and one for jobs' events.
LANES = ("realtime", "user", "periodic", "bills", JOB_EVENTS)
_BATCH = 200
_POLL = timedelta(seconds=1)  # rows of this process ring the bell; the poll finds those of a killed one

# In the order given, which is the order of the ids and so of publishing.
_ADD = text(
    """
INSERT INTO outbox (class, subject, message_id, payload, traceparent, tracestate, created_at)
SELECT x.class, x.subject, x.message_id, x.payload, x.traceparent, x.tracestate, :at
  FROM unnest(:classes, :subjects, :message_ids, :payloads, :traceparents, :tracestates)
       WITH ORDINALITY AS x(class, subject, message_id, payload, traceparent, tracestate, place)
 ORDER BY x.place
"""
).bindparams(
    *(
        bindparam(name, type_=ARRAY(Text))
        for name in ("classes", "subjects", "message_ids", "traceparents", "tracestates")
    ),
    bindparam("payloads", type_=ARRAY(LargeBinary)),
    bindparam("at", type_=DateTime(timezone=True)),
)

#: Reads firings (or whatever a row only points to) by (partner id, id) and encodes them.
Encode = Callable[[AsyncConnection, Sequence[tuple[int, UUID]]], Awaitable[Mapping[UUID, bytes]]]


def outbox_table(metadata: MetaData) -> Table:
    """The table `outbox` of a service. A row carries its bytes, or points to a firing that is encoded on the way."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("class", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("payload", LargeBinary),
        Column("partner_id", BigInteger),
        Column("firing_id", Uuid),
        Column("traceparent", Text),
        Column("tracestate", Text),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Index("outbox_by_class", "class", "id"),
    )


class BrokerRefused(ConnectionError):
    """The broker acknowledged nothing of a batch: it is away or full."""


@dataclass(frozen=True)
class Outbox:
    """Where a service writes its messages."""

    table: Table
    activity: Activity
    service: str
    bells: Mapping[str, Bell]

    @classmethod
    def on(cls, table: Table, activity: Activity, service: str) -> Outbox:
        """The outbox on `table` of `service`."""
        return cls(table, activity, service, {lane: Bell(activity) for lane in LANES})

    async def add(self, connection: AsyncConnection, rows: Sequence[Outgoing], at: datetime) -> None:
        """Write `rows` in the caller's transaction. After its commit the caller calls `wrote`."""
        if not rows:
            return
        await connection.execute(
            _ADD,
            {
                "classes": [row.work_class for row in rows],
                "subjects": [row.subject for row in rows],
                "message_ids": [row.message_id for row in rows],
                "payloads": [row.payload for row in rows],
                "traceparents": [row.traceparent for row in rows],
                "tracestates": [row.tracestate for row in rows],
                "at": at,
            },
        )

    def wrote(self, work_class: str, n: int = 1) -> None:
        """`n` rows of a class are committed, by `add` or by a statement: wake its relay."""
        if n:
            self.activity.begun(f"outbox.{self.service}", n)
            self.bells[work_class].set()

    def wrote_all(self, rows: Sequence[Outgoing]) -> None:
        """The same for rows that were given to `add`."""
        for row in rows:
            self.wrote(row.work_class)

    async def oldest(self, connection: AsyncConnection) -> datetime | None:
        """When the oldest waiting row was written."""
        oldest: datetime | None = await connection.scalar(select(func.min(self.table.c.created_at)))
        return oldest


class _Relay:
    def __init__(
        self,
        lane: str,
        engine: AsyncEngine,
        outbox: Outbox,
        publisher: Publisher,
        encode: Encode | None,
        gathers: Callable[[], Awaitable[None]],
    ):
        self._lane, self._engine, self._outbox = lane, engine, outbox
        self._publisher, self._encode, self._gathers = publisher, encode, gathers
        # Built once: every message of a service passes here, and building them costs as much as running them.
        table = outbox.table
        self._claim = (
            select(table)
            .where(table.c["class"] == lane)
            .order_by(table.c.id)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        )
        # One array, whatever the number: a statement of its own for each would be prepared and planned as often.
        self._delete = delete(table).where(table.c.id == any_(bindparam("sent", type_=ARRAY(BigInteger))))

    async def round(self) -> datetime | None:
        """Publish what waits in the lane, batch by batch."""
        await self._gathers()
        while await self._batch() == _BATCH:
            pass
        return None

    async def _batch(self) -> int:
        """Claim, publish and delete one batch; locks are held for the publishing, which is bounded."""
        async with self._engine.begin() as connection:
            rows = (await connection.execute(self._claim)).all()
            if not rows:
                return 0
            messages = await self._messages(connection, rows)
            outcomes = await self._publisher.publish(list(messages.values()))
            refused = {id_ for id_, error in zip(messages, outcomes, strict=True) if error is not None}
            sent = [row.id for row in rows if row.id not in refused]
            await connection.execute(self._delete, {"sent": sent})
        self._outbox.activity.ended(f"outbox.{self._outbox.service}", len(sent))
        if len(sent) < len(rows):
            raise BrokerRefused(f"{len(rows) - len(sent)} of {len(rows)} messages were not acknowledged")
        return len(rows)

    async def _messages(self, connection: AsyncConnection, rows: Sequence[Row[Any]]) -> dict[int, Outgoing]:
        """The messages by row id, without the rows whose firing is gone (purged, or its owner forgotten)."""
        pointers = [(row.partner_id, row.firing_id) for row in rows if row.payload is None]
        encoded = await self._encode(connection, pointers) if self._encode and pointers else {}
        return {
            row.id: Outgoing(
                work_class=self._lane,
                subject=row.subject,
                message_id=row.message_id,
                payload=encoded[row.firing_id] if row.payload is None else row.payload,
                traceparent=row.traceparent,
                tracestate=row.tracestate,
            )
            for row in rows
            if row.payload is not None or row.firing_id in encoded
        }


def relays(
    engine: AsyncEngine,
    outbox: Outbox,
    publisher: Publisher,
    *,
    clock: Clock,
    activity: Activity,
    encode: Encode | None = None,
    apart: timedelta = timedelta(),
) -> list[Loop]:
    """A relay per class for the service's outbox. `encode` turns rows that only point to something into bytes.

    Rounds of a relay begin at least so far `apart`: where nobody waits for the messages, those of a busy moment leave
    together, for a round costs as much for one as for many.
    """
    return [
        Loop(
            f"relay.{outbox.service}.{lane}",
            _Relay(lane, engine, outbox, publisher, encode, Spaced(clock, apart).wait).round,
            clock=clock,
            activity=activity,
            wake=outbox.bells[lane],
            poll=_POLL,
        )
        for lane in LANES
    ]
