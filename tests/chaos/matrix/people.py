"""A person for each cell, with one alert on large purchases that tells them by the cell's way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.chaos.callers import Callers
from tests.chaos.matrix.cells import Cell, Way
from tests.chaos.rest import INGEST
from tocsin_kit.clock import SystemClock

_FIRST_USER, _FIRST_PHONE = 100_000, 1_000


@dataclass(frozen=True)
class Person:
    """Who a cell's message goes to."""

    cell: Cell

    @property
    def user_id(self) -> int:
        """As the bank numbers them."""
        return _FIRST_USER + self.cell.number

    @property
    def name(self) -> str:
        """Of their browser, and of their endpoint."""
        return f"cell-{self.cell.number}"

    @property
    def recipient(self) -> str:
        """What the simulator of the way knows them by."""
        match self.cell.way:
            case Way.SENDGRID | Way.SMTP:
                return f"{self.name}@example.com"
            case Way.SMS:
                return f"+1312555{_FIRST_PHONE + self.cell.number:04}"
            case Way.PUSH | Way.WEBHOOK:
                return self.name


@dataclass(frozen=True)
class People:
    """Introduces the cells' people by the gateway. `push_url` and `webhooks_url` are the simulators'."""

    callers: Callers
    http: aiohttp.ClientSession
    push_url: str
    webhooks_url: str

    async def introduce(self, people: Sequence[Person]) -> None:
        """Tell who they are, what they have, and what they ask for."""
        await self._post("profiles", [_profile(person) for person in people])
        await self._post("accounts", [_account(person) for person in people])
        for person in people:
            token = self.callers.person(person.user_id)
            if person.cell.way is Way.PUSH:
                await self.callers.call("POST", "/api/v2/push-subscriptions", token, await self._browser(person))
            if person.cell.way is Way.WEBHOOK:
                endpoint = {"url": f"{self.webhooks_url}/hooks/{person.name}", "name": person.name}
                await self.callers.call("POST", "/api/v2/webhook-endpoints", token, endpoint)
            await self.callers.call("POST", "/api/v2/alerts", token, _alert(person.cell.way))

    async def spend(self, people: Sequence[Person]) -> None:
        """A large purchase of each, posted together."""
        now = SystemClock().now().isoformat().replace("+00:00", "Z")
        await self._post("transactions", [_purchase(person, now) for person in people])

    async def _post(self, kind: str, items: Sequence[dict[str, Any]]) -> None:
        answer = await self.callers.call("POST", f"{INGEST}{kind}", self.callers.bank, {kind: items})
        assert not answer.get("rejected"), answer

    async def _browser(self, person: Person) -> dict[str, Any]:
        async with self.http.get(f"{self.push_url}/_control/browsers/{person.name}") as answer:
            subscription: dict[str, Any] = await answer.json()
        return {**subscription, "name": person.name}


def _profile(person: Person) -> dict[str, Any]:
    return {
        "user_id": str(person.user_id),
        "email": f"{person.name}@example.com",
        "phone": f"+1312555{_FIRST_PHONE + person.cell.number:04}",
        "email_verified": True,
        "phone_verified": True,
        "locale": "en-US",
        "time_zone": "America/Chicago",
        "currency": "USD",
    }


def _account(person: Person) -> dict[str, Any]:
    return {
        "id": str(person.user_id),
        "user_id": str(person.user_id),
        "name": "Checking",
        "balance": "2000.00",
        "currency": "USD",
    }


def _alert(way: Way) -> dict[str, Any]:
    return {
        "name": "Large purchase",
        "transaction_limit": {"amount": "100.00", "currency": "USD"},
        **{f"{channel}_delivery": way.channel == channel for channel in ("email", "sms", "push", "webhook")},
    }


def _purchase(person: Person, at: str) -> dict[str, Any]:
    return {
        "id": str(person.user_id),
        "user_id": str(person.user_id),
        "account_id": str(person.user_id),
        "amount": "-250.00",
        "currency": "USD",
        "merchant": "Corner Market",
        "posted_at": at,
    }
