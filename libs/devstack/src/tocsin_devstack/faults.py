"""Fault orders: what a test wants a provider simulator to do wrong, to which recipient and at which call.

    faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=429, reset_in=timedelta(seconds=30)))
    faults.order(CallFault(Provider.TWILIO, CallBehaviour.STATUS, recipient="+13125550100", status=400, code=21610))
    faults.order(CallFault(Provider.SENDGRID, CallBehaviour.RESET_AFTER, from_call=3, times=1))
    faults.order(CallbackFault(Provider.SENDGRID, CallbackBehaviour.OUTCOME, recipient="a@b.com", events=("bounce",)))
    faults.order(CallbackFault(Provider.TWILIO, CallbackBehaviour.DUPLICATE))
    faults.order(CallFault(Receiver.SMTP, CallBehaviour.STATUS, status=550, message="5.1.1 who?", stage=Stage.RCPT))

Simulators in another process take the same orders as JSON: POST `/_control/faults`, POST `/_control/callback-faults`,
and DELETE of either to forget them. `tocsin simulate --faults` reads a file of `WrittenOrders`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Generic, TypeVar

_ZERO = timedelta()


class Provider(StrEnum):
    """The providers that are simulated."""

    SENDGRID = "sendgrid"
    TWILIO = "twilio"


class Receiver(StrEnum):
    """Those that get messages with no provider between: they call nobody back."""

    WEBPUSH = "webpush"
    WEBHOOK = "webhook"
    SMTP = "smtp"


class Stage(StrEnum):
    """Where in a call a fault lies. Only SMTP has others than the last; before RCPT no recipient is known."""

    GREETING = "greeting"
    HELLO = "hello"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END = "end"  # the whole message has been read


class CallBehaviour(StrEnum):
    """What happens to a call to send a message. 'After' means the provider had accepted it and will deliver it."""

    STATUS = "status"  # refuse with `status`, `code`, `headers`, `reset_in`
    DELAY = "delay"  # answer rightly after `delay`
    HANG_BEFORE = "hang_before"  # never answer, not accepted
    HANG_AFTER = "hang_after"  # never answer, accepted
    RESET_BEFORE = "reset_before"  # break the connection, not accepted
    RESET_AFTER = "reset_after"  # break the connection, accepted
    GARBAGE = "garbage"  # accepted, answered with the right status and a body that is no JSON
    DRIP = "drip"  # accepted, answered byte by byte with `delay` between them


class CallbackBehaviour(StrEnum):
    """What happens to the callbacks of a message."""

    OUTCOME = "outcome"  # these `events` come instead (with `code` where the event has one)
    DUPLICATE = "duplicate"  # each comes twice, with the same event id
    REORDER = "reorder"  # they come in reverse order
    DROP = "drop"  # they never come
    DELAY = "delay"  # they come `delay` later, by the clock
    FORGE = "forge"  # they come with a signature by another key


@dataclass(frozen=True)
class CallFault:
    """An order about calls. It counts the calls it matches and acts from the `from_call`th on, `times` times."""

    provider: Provider | Receiver
    behaviour: CallBehaviour
    recipient: str | None = None  # None matches everybody
    from_call: int = 1
    times: int | None = None  # None: for ever
    status: int = 500
    code: int | None = None  # Twilio's error code
    message: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reset_in: timedelta | None = None  # SendGrid's X-RateLimit-Reset, counted from the clock's now
    delay: timedelta = _ZERO
    stage: Stage = Stage.END


@dataclass(frozen=True)
class CallbackFault:
    """An order about the callbacks of messages, matched as CallFault is. `events` narrows it to these."""

    provider: Provider
    behaviour: CallbackBehaviour
    recipient: str | None = None
    from_call: int = 1
    times: int | None = None
    events: tuple[str, ...] = ()
    code: int | None = None
    delay: timedelta = _ZERO


@dataclass(frozen=True)
class WrittenOrders:
    """Orders as a file holds them: `{"calls": [...], "callbacks": [...]}`."""

    calls: tuple[CallFault, ...] = ()
    callbacks: tuple[CallbackFault, ...] = ()


Order = TypeVar("Order", CallFault, CallbackFault)


class _Orders(Generic[Order]):
    """Orders in the sequence they were given, each with the number of calls it has seen."""

    def __init__(self) -> None:
        self._orders: list[tuple[Order, list[int]]] = []

    def add(self, order: Order) -> None:
        self._orders.append((order, [0]))

    def clear(self) -> None:
        self._orders.clear()

    def matching(self, provider: Provider | Receiver, recipient: str, stage: Stage = Stage.END) -> list[Order]:
        """Those that act on this call, each having counted it."""
        return [order for order, seen in self._orders if _acts(order, seen, provider, recipient, stage)]


class Faults:
    """The orders in force."""

    def __init__(self) -> None:
        self._calls: _Orders[CallFault] = _Orders()
        self._callbacks: _Orders[CallbackFault] = _Orders()

    def order(self, fault: CallFault | CallbackFault) -> None:
        """Put an order in force, after those there are."""
        if isinstance(fault, CallFault):
            self._calls.add(fault)
        else:
            self._callbacks.add(fault)

    def forget_calls(self) -> None:
        """From now on calls go well."""
        self._calls.clear()

    def forget_callbacks(self) -> None:
        """From now on callbacks go well; those already planned stay as they are."""
        self._callbacks.clear()

    def of_call(self, provider: Provider | Receiver, recipient: str, stage: Stage = Stage.END) -> CallFault | None:
        """The first order that acts on this call at this stage."""
        return next(iter(self._calls.matching(provider, recipient, stage)), None)

    def of_callbacks(self, provider: Provider, recipient: str) -> Sequence[CallbackFault]:
        """All orders that act on the callbacks of this accepted message."""
        return self._callbacks.matching(provider, recipient)


def _acts(
    order: CallFault | CallbackFault, seen: list[int], provider: Provider | Receiver, recipient: str, stage: Stage
) -> bool:
    if order.provider is not provider or order.recipient not in (None, recipient):
        return False
    if isinstance(order, CallFault) and order.stage is not stage:
        return False
    seen[0] += 1
    since = seen[0] - order.from_call
    return since >= 0 and (order.times is None or since < order.times)


@dataclass(frozen=True)
class PlannedCallback:
    """One callback that will be sent, `after` the acceptance by the clock."""

    event: str
    after: timedelta
    code: int | None = None
    forged: bool = False


def plan_callbacks(
    usual: Sequence[str], orders: Sequence[CallbackFault], *, code: int | None, step: timedelta
) -> list[PlannedCallback]:
    """The callbacks of one message: `usual` events `step` apart, changed by the orders in their sequence.

    A duplicated event occurs twice in the result; who sends gives both the same event id.
    """
    plan = [PlannedCallback(event, step * (number + 1), code) for number, event in enumerate(usual)]
    for order in orders:
        plan = _changed(plan, order, step)
    return plan


def _changed(plan: list[PlannedCallback], order: CallbackFault, step: timedelta) -> list[PlannedCallback]:
    def concerns(one: PlannedCallback) -> bool:
        return not order.events or one.event in order.events

    match order.behaviour:
        case CallbackBehaviour.OUTCOME:
            return [PlannedCallback(event, step * (n + 1), order.code) for n, event in enumerate(order.events)]
        case CallbackBehaviour.DUPLICATE:
            return [one for each in plan for one in ([each, each] if concerns(each) else [each])]
        case CallbackBehaviour.REORDER:
            times = [one.after for one in plan]
            return [
                PlannedCallback(one.event, after, one.code, one.forged)
                for one, after in zip(reversed(plan), times, strict=True)
            ]
        case CallbackBehaviour.DROP:
            return [one for one in plan if not concerns(one)]
        case CallbackBehaviour.DELAY:
            return [
                PlannedCallback(one.event, one.after + (order.delay if concerns(one) else _ZERO), one.code, one.forged)
                for one in plan
            ]
        case CallbackBehaviour.FORGE:
            return [PlannedCallback(one.event, one.after, one.code, one.forged or concerns(one)) for one in plan]
