"""How many codes a day, and where to: they cost money, and who pumps texts to numbers of a friend's asks for many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import phonenumbers

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, PartnerSettings

_OWN_DIGITS = 4
"""At the end of a number; what is before them is its prefix, a block of ten thousand."""


class Scope(StrEnum):
    """Whose codes are counted."""

    USER = "user"
    ADDRESS = "address"
    PREFIX = "prefix"
    PARTNER = "partner"


@dataclass(frozen=True, slots=True)
class Limits:
    """Codes a day, in UTC."""

    per_user: int = 10
    per_address: int = 6
    per_prefix: int = 60
    """Of numbers. E-mail has none: half the world has its mail at three hosts."""
    per_partner: int = 10_000

    def reached_by_user(self, counts: Mapping[str, int]) -> bool:
        """Whether the person, or the whole bank, has had enough: they are told so."""
        return counts[Scope.USER] > self.per_user or counts[Scope.PARTNER] > self.per_partner

    def reached_by_address(self, channel: Channel, counts: Mapping[str, int]) -> bool:
        """Whether the address has had enough: nobody is told, for it may not be theirs."""
        too_many = counts[Scope.ADDRESS] > self.per_address
        return too_many or (channel is Channel.SMS and counts[Scope.PREFIX] > self.per_prefix)


def subjects(user: UserKey, channel: Channel, address: str) -> Mapping[str, str]:
    """Who is counted, by scope. Without an address too, so that its answer takes as long."""
    return {
        Scope.USER: str(user.user_id),
        Scope.ADDRESS: f"{channel}:{address}",
        Scope.PREFIX: f"{channel}:{address[:-_OWN_DIGITS]}",
        Scope.PARTNER: "",
    }


def why_not(
    channel: Channel, address: str, partner: PartnerSettings, counts: Mapping[str, int], limits: Limits
) -> Reason | None:
    """Why no message leaves; None: one does."""
    if not address:
        return Reason.NO_ADDRESS
    if channel is Channel.SMS and partner.countries and country_of(address) not in partner.countries:
        return Reason.COUNTRY_NOT_ALLOWED
    return Reason.RATE_LIMITED if limits.reached_by_address(channel, counts) else None


def country_of(number: str) -> str | None:
    """The country of a number in E.164, ISO 3166-1 alpha-2; None where it has none, or is no number."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None
