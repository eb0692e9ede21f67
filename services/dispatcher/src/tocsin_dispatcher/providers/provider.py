"""What a provider answers."""

from typing import Protocol, TypeVar

from tocsin_dispatcher.values import Attempt, Outcome

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

    async def send(self, message: MessageT_contra, attempt: Attempt) -> Outcome:
        """Hand a message over, within the call's time limit. Never raises for what a provider or a network does."""
        ...


class LookUp(Protocol):
    """Finds out what became of a message after an unknown outcome."""

    async def find(self, to: str, attempt: Attempt, taken: frozenset[str]) -> Outcome:
        """Accepted (with the provider's id) or permanent when it had the message, transient when it never had it,
        unknown when it could not say. `taken` are the provider's ids that are known to be other deliveries'."""
        ...
