"""Who is told, and how they want to be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal

from tocsin_dispatcher.values.firing import AlertKind, Channel


@dataclass(frozen=True, slots=True)
class Contact:
    """A person's addresses, zone and locale, copied from the bank's profile."""

    partner_id: int
    user_id: int
    email: str | None
    email_verified_at: datetime | None
    phone: str | None
    """E.164."""
    phone_verified_at: datetime | None
    locale: str
    """BCP 47."""
    time_zone: str
    """IANA."""
    version: int

    def address(self, channel: Channel) -> str | None:
        """The person's address on e-mail or SMS; None where there is none, or the channel has no such address."""
        if channel is Channel.EMAIL:
            return self.email or None
        if channel is Channel.SMS:
            return self.phone or None
        return None


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The part of the local day in which only critical messages leave; may cross midnight."""

    enabled: bool = False
    start: time = time(22, 0)
    end: time = time(8, 0)


@dataclass(frozen=True, slots=True)
class Preferences:
    """How one user wants to be told; the defaults are those of the contract."""

    email_enabled: bool = True
    sms_enabled: bool = True
    push_enabled: bool = True
    overrides: Mapping[tuple[AlertKind, Channel], bool] = field(default_factory=dict)
    quiet_hours: QuietHours = QuietHours()
    max_per_hour: int = 10
    max_per_day: int = 50
    digest_hour: int = 18
    hide_amounts: bool = False

    def allows(self, kind: AlertKind, channel: Channel) -> bool:
        """Whether the channel is on, and on for this kind."""
        switches = {
            Channel.EMAIL: self.email_enabled,
            Channel.SMS: self.sms_enabled,
            Channel.PUSH: self.push_enabled,
        }
        return switches.get(channel, True) and self.overrides.get((kind, channel), True)


@dataclass(frozen=True, slots=True)
class PartnerSettings:
    """What holds for a partner's users."""

    max_per_hour: int = 10
    """The ceiling of what a user may choose; so is the next one."""
    max_per_day: int = 50
    sms_segments: int = 1
    mandatory_kinds: frozenset[AlertKind] = frozenset()
    countries: tuple[str, ...] = ()
    price_per_segment: Decimal = Decimal("0.0079")
    """USD."""


@dataclass(frozen=True, slots=True)
class PartnerChoices:
    """What a partner has chosen of its settings; None: nothing, so that what is standard holds, now and later."""

    max_per_hour: int | None = None
    max_per_day: int | None = None
    sms_segments: int | None = None
    mandatory_kinds: frozenset[AlertKind] = frozenset()
    countries: tuple[str, ...] = ()
    price_per_segment: Decimal | None = None

    def settings(self, standard: PartnerSettings) -> PartnerSettings:
        """What holds by them."""
        return PartnerSettings(
            max_per_hour=standard.max_per_hour if self.max_per_hour is None else self.max_per_hour,
            max_per_day=standard.max_per_day if self.max_per_day is None else self.max_per_day,
            sms_segments=standard.sms_segments if self.sms_segments is None else self.sms_segments,
            mandatory_kinds=self.mandatory_kinds,
            countries=self.countries,
            price_per_segment=standard.price_per_segment if self.price_per_segment is None else self.price_per_segment,
        )
