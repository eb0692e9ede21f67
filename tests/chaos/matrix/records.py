"""What the databases and the simulators say of the cells' messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import asyncpg
from pydantic import TypeAdapter

from tests.chaos.matrix.answers import SIMULATORS
from tests.chaos.matrix.cells import Way
from tests.chaos.matrix.people import Person
from tocsin_devstack.faults import CallbackFault, CallFault

_FAULTS = TypeAdapter(list[CallFault])
_CALLBACK_FAULTS = TypeAdapter(list[CallbackFault])
_FIRED = "SELECT user_id, id FROM firings WHERE user_id = ANY($1::bigint[])"
_TOLD = "SELECT user_id, id, planned FROM notifications WHERE user_id = ANY($1::bigint[])"
_DELIVERIES = """
SELECT user_id, id, notification_id, channel, status, reason, due_at, leased_until FROM deliveries
 WHERE user_id = ANY($1::bigint[])
"""
_ATTEMPTS = """
SELECT d.user_id, a.number, a.started_at, a.outcome, a.possible_duplicate
  FROM attempts a JOIN deliveries d ON d.partner_id = a.partner_id AND d.id = a.delivery_id
 WHERE d.user_id = ANY($1::bigint[]) ORDER BY a.number
"""


@dataclass(frozen=True)
class DeliveryRow:
    """A delivery as it stands."""

    id: str
    notification_id: str
    channel: str
    status: str
    reason: str | None
    due_at: datetime | None
    leased_until: datetime | None


@dataclass(frozen=True)
class AttemptRow:
    """An attempt as it is written. `outcome` None: nobody has written what came of it."""

    number: int
    started_at: datetime
    outcome: str | None
    possible_duplicate: bool


@dataclass(frozen=True)
class Taken:
    """A message that the provider took; `attempt` where it was told."""

    delivery_id: str
    attempt: int | None
    at: datetime


@dataclass(frozen=True)
class Record:
    """All there is of one cell."""

    fired: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    planned: int = 0
    deliveries: tuple[DeliveryRow, ...] = ()
    attempts: tuple[AttemptRow, ...] = ()
    calls: int = 0
    taken: tuple[Taken, ...] = ()

    def delivery(self, channel: str) -> DeliveryRow | None:
        """That of the cell's channel."""
        return next((row for row in self.deliveries if row.channel == channel), None)


@dataclass(frozen=True)
class Simulators:
    """The simulators of all ways, seen from outside their process."""

    http: aiohttp.ClientSession
    urls: Mapping[Way, str]

    async def order(self, faults: Sequence[CallFault | CallbackFault]) -> None:
        """Put orders in force."""
        for way, simulator in SIMULATORS.items():
            told = [fault for fault in faults if fault.provider is simulator]
            of_calls = [fault for fault in told if isinstance(fault, CallFault)]
            of_callbacks = [fault for fault in told if isinstance(fault, CallbackFault)]
            await self._post(way, "faults", _FAULTS.dump_python(of_calls, mode="json"))
            await self._post(way, "callback-faults", _CALLBACK_FAULTS.dump_python(of_callbacks, mode="json"))

    async def _post(self, way: Way, path: str, orders: object) -> None:
        if orders:
            async with self.http.post(f"{self.urls[way]}/_control/{path}", json=orders) as answer:
                assert answer.status == 204, await answer.text()

    async def calls(self, ways: Sequence[Way]) -> tuple[dict[str, int], dict[str, list[Taken]]]:
        """By recipient: how many calls came, and what was taken."""
        calls: dict[str, int] = {}
        taken: dict[str, list[Taken]] = {}
        for way in ways:
            shown = await self._shown(way)
            for call in shown["calls"]:
                calls[call["recipient"]] = calls.get(call["recipient"], 0) + 1
            for one in shown["taken"]:
                taken.setdefault(one["recipient"], []).append(
                    Taken(_uuid(one["delivery_id"]), one["attempt"], datetime.fromisoformat(one["at"]))
                )
        return calls, taken

    async def refused(self) -> list[str]:
        """What they refused as wrongly made, nothing having been ordered."""
        return [refusal for way in SIMULATORS for refusal in (await self._shown(way))["refused"]]

    async def _shown(self, way: Way) -> dict[str, Any]:
        async with self.http.get(f"{self.urls[way]}/_control/calls") as answer:
            shown: dict[str, Any] = await answer.json()
            return shown


def _uuid(text: str) -> str:
    """A push message's topic is the delivery's id without its dashes."""
    plain = text.replace("-", "")
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


@dataclass(frozen=True)
class Records:
    """Reads what there is. `urls` are the databases' addresses as their administrator."""

    urls: Mapping[str, str]
    simulators: Simulators

    async def rows(self, service: str, query: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of a query, by a connection of its own: servers come and go here."""
        connection = await asyncpg.connect(self.urls[service])
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    async def of(self, people: Sequence[Person]) -> dict[Person, Record]:
        """Each one's record."""
        users = [person.user_id for person in people]
        fired = _by_user(await self.rows("evaluator", _FIRED, users))
        told = _by_user(await self.rows("dispatcher", _TOLD, users))
        deliveries = _by_user(await self.rows("dispatcher", _DELIVERIES, users))
        attempts = _by_user(await self.rows("dispatcher", _ATTEMPTS, users))
        calls, taken = await self.simulators.calls(sorted({person.cell.way for person in people}))
        return {
            person: Record(
                fired=tuple(str(row["id"]) for row in fired.get(person.user_id, ())),
                told=tuple(str(row["id"]) for row in told.get(person.user_id, ())),
                planned=sum(row["planned"] for row in told.get(person.user_id, ())),
                deliveries=tuple(_delivery(row) for row in deliveries.get(person.user_id, ())),
                attempts=tuple(_attempt(row) for row in attempts.get(person.user_id, ())),
                calls=calls.get(person.recipient, 0),
                taken=tuple(taken.get(person.recipient, ())),
            )
            for person in people
        }


def _by_user(rows: Sequence[asyncpg.Record]) -> dict[int, list[asyncpg.Record]]:
    found: dict[int, list[asyncpg.Record]] = {}
    for row in rows:
        found.setdefault(row["user_id"], []).append(row)
    return found


def _delivery(row: asyncpg.Record) -> DeliveryRow:
    return DeliveryRow(
        id=str(row["id"]),
        notification_id=str(row["notification_id"]),
        channel=row["channel"],
        status=row["status"],
        reason=row["reason"],
        due_at=row["due_at"],
        leased_until=row["leased_until"],
    )


def _attempt(row: asyncpg.Record) -> AttemptRow:
    return AttemptRow(row["number"], row["started_at"], row["outcome"], row["possible_duplicate"])
