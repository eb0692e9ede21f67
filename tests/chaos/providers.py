"""The simulated providers as seen from outside their process: what they took, and what they are told to do wrong."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import TypeAdapter

from tocsin_devstack.faults import CallbackBehaviour, CallbackFault, CallFault, Provider

#: Processed or sent, and delivered.
EVENTS_OF_A_MESSAGE = 2


@dataclass(frozen=True)
class Call:
    """A message that a provider took: of which delivery and attempt, to whom."""

    delivery: str
    attempt: int
    recipient: str


@dataclass(frozen=True)
class Account:
    """What a provider knows of us: messages taken, requests refused as wrong, events by what was said to them."""

    taken: tuple[Call, ...]
    refused: tuple[object, ...]
    events_taken: int
    events_in_vain: int


class Providers:
    """Both simulators, by their addresses. Of messages to the `mute` they say nothing after taking them."""

    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[Provider, str]) -> None:
        self._session, self._urls = session, urls
        self.mute: frozenset[str] = frozenset()

    async def account(self, provider: Provider) -> Account:
        """As it stands."""
        async with self._session.get(f"{self._urls[provider]}/_control/account") as answer:
            shown = await answer.json()
        return Account(
            taken=tuple(Call(one["delivery_id"], one["attempt"], one["recipient"]) for one in shown["accepted"]),
            refused=tuple(shown["refused"]),
            events_taken=_events(shown["answers"], well=True),
            events_in_vain=_events(shown["answers"], well=False),
        )

    async def taken(self) -> list[Call]:
        """What both took."""
        return [call for provider in self._urls for call in (await self.account(provider)).taken]

    async def events_taken(self) -> int:
        """How many of their events somebody has taken."""
        return sum([(await self.account(provider)).events_taken for provider in self._urls])

    async def events_outstanding(self) -> int:
        """How many events of messages they have still to tell."""
        outstanding = 0
        for provider in self._urls:
            account = await self.account(provider)
            told_of = sum(call.recipient not in self.mute for call in account.taken)
            outstanding += EVENTS_OF_A_MESSAGE * told_of - account.events_taken
        return outstanding

    async def fall_silent(self, addresses: Collection[str]) -> None:
        """From now on these are mute."""
        self.mute |= frozenset(addresses)
        await self.order(
            CallbackFault(provider, CallbackBehaviour.DROP, recipient=address)
            for provider in self._urls
            for address in addresses
        )

    async def order(self, faults: Iterable[CallFault | CallbackFault]) -> None:
        """Put orders in force."""
        for fault in faults:
            path = "faults" if isinstance(fault, CallFault) else "callback-faults"
            order = TypeAdapter(type(fault)).dump_python(fault, mode="json")
            async with self._session.post(
                f"{self._urls[Provider(fault.provider)]}/_control/{path}", json=order
            ) as answer:
                assert answer.status == 204, await answer.text()

    async def forget_call_faults(self) -> None:
        """From now on calls go well."""
        for url in self._urls.values():
            async with self._session.delete(f"{url}/_control/faults") as answer:
                assert answer.status == 204


def _events(answers: Sequence[dict[str, Any]], *, well: bool) -> int:
    return sum(len(one["events"]) for one in answers if (200 <= one["status"] < 300) is well)
