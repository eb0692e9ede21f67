"""What a provider answers."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from tocsin_dispatcher.values import Attempt, Made, Outcome

MessageT_contra = TypeVar("MessageT_contra", contravariant=True)


class Provider(Protocol[MessageT_contra]):
    """Takes messages of one medium."""

    @property
    def name(self) -> str:
        """As `deliveries.provider` stores it."""
        ...

    @property
    def credential(self) -> str:
        """Names the credential, without telling it; breakers are kept by (name, credential)."""
        ...

    @property
    def room(self) -> int | None:
        """How many messages it had better have in hand, those included that wait for it; None: any number."""
        ...

    async def send(self, message: MessageT_contra, attempt: Attempt) -> Outcome:
        """Hand a message over, within the call's time limit. Never raises for what a provider or a network does."""
        ...


class DirectProvider(Protocol[MessageT_contra]):
    """Takes messages that each name the address they go to; breakers are kept by (name, what guards the address)."""

    @property
    def name(self) -> str:
        """As `deliveries.provider` stores it."""
        ...

    async def send(self, message: MessageT_contra, attempt: Attempt) -> Outcome:
        """As a provider's."""
        ...


class LookUp(Protocol):
    """Says which messages the provider has made, after an unknown outcome."""

    async def made(self, to: str, attempt: Attempt) -> Sequence[Made] | None:
        """The messages made to an address from the day of `attempt` on, those of other deliveries too; None when it
        could not say."""
        ...
