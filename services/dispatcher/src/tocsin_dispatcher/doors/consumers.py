"""The consumers of FIRINGS, PROFILES and RECEIPTS: messages decoded, handed on, and judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError

from tocsin_dispatcher.doors.translate import callback_of, firing_of, profile_of
from tocsin_dispatcher.intake.dead_letters import DeadLetters, Letter
from tocsin_dispatcher.intake.intake import Intake
from tocsin_dispatcher.intake.profiles import Profiles
from tocsin_dispatcher.receiving.callbacks import Arrived, Callbacks
from tocsin_dispatcher.store.recipients import Profile
from tocsin_dispatcher.values import Firing
from tocsin_kit.messaging.consumer import Message, Verdict
from tocsin_kit.telemetry import names

Item = TypeVar("Item")


@dataclass(frozen=True)
class Door(Generic[Item]):
    """Decodes a batch, has it taken in, and keeps what cannot be as dead letters."""

    stream: str
    read: Callable[[Message], Item]
    take_in: Callable[[Sequence[Item]], Awaitable[Sequence[tuple[Item, Exception]]]]
    letters: DeadLetters

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        """A verdict per message: done, or dead with its bytes kept."""
        judged = list(zip(messages, await self.judge(messages), strict=True))
        await self.letters.keep([self._letter(message, why) for message, why in judged if why is not None])
        return [Verdict.DONE if why is None else Verdict.DEAD for _, why in judged]

    async def judge(self, messages: Sequence[Message]) -> list[str | None]:
        """Take messages in; answers why each cannot be, None where it was."""
        items: list[tuple[Message, Item]] = []
        dead: dict[int, Exception] = {}
        for message in messages:
            try:
                items.append((message, self.read(message)))
            except (DecodeError, ValueError, LookupError, OverflowError) as error:
                dead[id(message)] = error
        refused = await self.take_in([item for _, item in items]) if items else []
        for item, refusal in refused:
            for message, candidate in items:
                if candidate is item:
                    dead[id(message)] = refusal
        return [_why(dead[id(message)]) if id(message) in dead else None for message in messages]

    def _letter(self, message: Message, why: str) -> Letter:
        return Letter(self.stream, message.subject, message.message_id, message.data, why)


def _why(error: Exception) -> str:
    # A database error quotes the row, which holds amounts and addresses: its first line says enough.
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


def firings_door(intake: Intake, letters: DeadLetters) -> Door[Firing]:
    """FIRINGS."""
    return Door("FIRINGS", _firing, intake.take_in, letters)


def profiles_door(profiles: Profiles, letters: DeadLetters) -> Door[Profile]:
    """PROFILES."""
    return Door("PROFILES", lambda message: profile_of(message.data), profiles.take_in, letters)


def receipts_door(callbacks: Callbacks, letters: DeadLetters) -> Door[Arrived]:
    """RECEIPTS."""
    return Door(
        "RECEIPTS",
        lambda message: Arrived(callback_of(message.data), message.traceparent),
        callbacks.take_in,
        letters,
    )


def _firing(message: Message) -> Firing:
    firing = firing_of(message.data, message.traceparent, message.tracestate)
    message.span.set_attribute(names.ALERT_KIND, firing.kind)
    message.span.set_attribute(names.FIRING_ID, str(firing.id))
    return firing
