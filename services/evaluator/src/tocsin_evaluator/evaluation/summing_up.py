"""An explanation in one sentence of plain English."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from tocsin_evaluator.model.explanation import Explanation, Quiet, ShownFact
from tocsin_evaluator.model.words import Reason


def summary(explained: Explanation, fact_name: str) -> str:
    """What to tell a person. `fact_name` is what the alert looks at: `account`."""
    why_not, facts = explained.why_not, explained.facts
    if why_not is None:
        return "It would fire now."
    # the fact that says it, else the newest
    fact = next((each for each in facts if each.why_not is why_not), next(iter(facts), None))
    match why_not:
        case Quiet.INACTIVE:
            return "It does not fire: it is switched off."
        case Quiet.NO_FACT:
            return (
                f"It does not fire: the bank has posted no {'' if fact_name == 'transaction' else 'such '}{fact_name}."
            )
        case Quiet.BEFORE_ALERT:
            return (
                "It does not fire: the purchases that match came in before the alert was made or its condition edited, "
                "while it was snoozed, or too long ago."
            )
        case Quiet.NOT_TRUE:
            return f"It does not fire: {_what_is_false(fact)}."
        case _:
            return f"It is true and does not fire: {_what_keeps_it(explained, why_not, fact)}."


def _what_is_false(fact: ShownFact | None) -> str:
    clause = next((each for each in fact.clauses if not each.holds), None) if fact is not None else None
    if clause is None:
        return "its condition is not true"
    values = _listed(clause.values)
    return f'"{clause.name.replace("_", " ")}" does not hold' + (f" ({values})" if values else "")


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def _what_keeps_it(explained: Explanation, reason: Reason | Quiet, fact: ShownFact | None) -> str:
    match reason:
        case Reason.BACKFILL:
            return "the purchase was posted as history, or was too old when it came in"
        case Reason.SNOOZED:
            return f"it is snoozed until {_local(explained, explained.snoozed_until)}"
        case Reason.CURRENCY:
            there = "" if fact is None else f"the fact is in {fact.currency}, "
            return f"{there}the alert in {explained.currency}"
        case Reason.STALE:
            known = None if fact is None else fact.as_of
            return f"the balance is known as of {_local(explained, known)}, which is older than 48 hours"
        case Reason.COOLDOWN:
            return f"its cooldown is not over; next possible at {_local(explained, explained.next_possible_at)}"
        case Reason.NOT_REARMED:
            return "the balance has not come back since it fired"
        case Reason.PASSED:
            return "it was reached before the alert was made and is only noted"
        case _:
            return _what_was_told(explained, fact)


def _what_was_told(explained: Explanation, fact: ShownFact | None) -> str:
    recorded = [each for each in fact.occurrences if each.reached and each.is_recorded] if fact is not None else []
    if not recorded:
        return "it was told before"
    last = recorded[-1]
    percent = "" if last.percent is None else f"{last.percent} % "
    how = "was told" if last.fired else "had passed silently"
    return f"{percent or 'this '}{how} on {_local(explained, last.at)}"


def _local(explained: Explanation, instant: datetime | None) -> str:
    """An instant as the user's clock shows it."""
    if instant is None:
        return "an unknown time"
    return f"{instant.astimezone(ZoneInfo(explained.time_zone)):%Y-%m-%d %H:%M} ({explained.time_zone})"
