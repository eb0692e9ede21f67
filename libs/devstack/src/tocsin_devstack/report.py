"""Prints what a simulation did, day by day: what was sent to whom, on which channel, and why."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from tocsin_devstack.evidence import Evidence, Fired
from tocsin_devstack.reading import Delivered, Told
from tocsin_devstack.scenario import Scenario, Wish

CHANNELS = ("in_app", "email", "sms", "push", "webhook")
_STYLES = {
    "delivered": "green",
    "sent": "green",
    "held": "yellow",
    "pending": "yellow",
    "retrying": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "bounced": "red",
    "expired": "red",
}


class Report:
    """Writes to `console`: coloured on a terminal, plain elsewhere. Times are each reader's own."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._console, self._scenario = console, scenario
        self._evidence = Evidence(scenario)
        self._names = {person.user_id: person.name for person in scenario.people}
        self._zones = {person.user_id: ZoneInfo(person.time_zone) for person in scenario.people}

    def opening(self, accepted: int) -> None:
        """What is simulated, and what was asked for."""
        scenario = self._scenario
        self._line(Text(f"{scenario.title}: {scenario.days} days from {scenario.first_day}", style="bold"))
        self._line(Text(f"{accepted} facts of history and setup, none of which is news. Alerts asked for:"))
        for wish in scenario.wishes:
            self._line(Text(f"  {self._names[wish.user_id]}: {wish.name} ({wish.kind.value}; {_numbers(wish)})"))
        for kind in scenario.silent:
            self._line(Text(f"  nobody asks for {kind.value}: the data gives it nothing to say", style="red"))

    def day(self, number: int, day: date, told: Sequence[Told], begins: datetime) -> None:
        """One day: new notifications with their deliveries, then what became of deliveries that waited before."""
        news = [one for one in told if one.fired_at >= begins or len(one.waiting) < len(one.deliveries)]
        quiet = "" if news else ": nothing to say"
        self._line(Text(f"\n{day:%a %d %b %Y}, day {number} of {self._scenario.days}{quiet}", style="bold"))
        for one in news:
            if one.fired_at >= begins:
                self._new(one)
            else:
                self._waited(one, begins)

    def closing(self, summary: Mapping[str, object]) -> None:
        """The last line: the books as JSON."""
        self._console.file.write(json.dumps(summary) + "\n")
        self._console.file.flush()

    def _new(self, told: Told) -> None:
        zone = self._zones[told.user_id]
        heading = f"  {_clock(told.fired_at, zone)} to {self._names[told.user_id]}: {told.title}. {told.message}"
        self._line(Text(heading))
        evidence = self._evidence.of(Fired(told.kind, told.user_id, told.context, told.fired_at))
        why = f"        why: {told.alert_name} ({told.kind.value})"
        self._line(Text(why + (f"; {evidence}" if evidence else ""), style="dim"))
        order = sorted(told.deliveries, key=lambda delivery: CHANNELS.index(delivery.channel))
        line = Text("        ")
        line.append(Text(", ").join(_delivery(delivery, zone) for delivery in order))
        self._line(line)

    def _waited(self, told: Told, begins: datetime) -> None:
        zone, name = self._zones[told.user_id], self._names[told.user_id]
        for delivery in told.deliveries:
            if delivery.id in told.waiting:
                continue
            line = f"  to {name}, no longer waiting: {told.title}: "
            if delivery.sent_at is not None and delivery.sent_at >= begins:
                line = f"  {_clock(delivery.sent_at, zone)} to {name}, waiting until then: {told.title}: "
            self._line(Text(line).append(_delivery(delivery, zone)))

    def _line(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _clock(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%H:%M}"


def _delivery(delivery: Delivered, zone: ZoneInfo) -> Text:
    """`email sent 12:00`, `email in a digest 08:00`, `sms held until 08:00 (quiet_hours)`, `sms suppressed
    (unverified)`."""
    words = f"{delivery.channel} {'in a digest' if delivery.in_digest else delivery.status}"
    if delivery.sent_at is not None and delivery.channel != "in_app":
        words += f" {_clock(delivery.sent_at, zone)}"
    elif delivery.due_at is not None:
        words += f" until {_clock(delivery.due_at, zone)}"
    if delivery.reason is not None and delivery.sent_at is None and not delivery.in_digest:
        words += f" ({delivery.reason})"
    return Text(words, style=_STYLES.get(delivery.status, ""))


def _numbers(wish: Wish) -> str:
    """The condition's own words: `account 101 below 21000.00`."""
    values = {name: value for name, value in vars(wish.condition).items() if name != "currency"}
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items())


def _plain(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
