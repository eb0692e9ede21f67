"""Explanations and backtests into the contract's messages."""

from collections.abc import Mapping

from tocsin.alerts.v1 import alert_pb2
from tocsin_evaluator.doors.translate import context_message, stamp_of
from tocsin_evaluator.doors.words import ALERT_TYPES, NOT_FIRED
from tocsin_evaluator.model.backtest import Backtested
from tocsin_evaluator.model.explanation import Explanation, ShownFact, ShownOccurrence
from tocsin_evaluator.model.words import Reason


def not_fired_counts(reasons: Mapping[Reason, int]) -> list[alert_pb2.NotFiredCount]:
    """Why how many did not fire, in the reasons' order."""
    return [
        alert_pb2.NotFiredCount(reason=NOT_FIRED[reason], count=reasons[reason])
        for reason in Reason
        if reasons.get(reason)
    ]


def backtest_message(tested: Backtested) -> alert_pb2.BacktestAlertResponse:
    """What an alert would have told."""
    return alert_pb2.BacktestAlertResponse(
        alert_type=ALERT_TYPES[tested.kind],
        since=stamp_of(tested.window.since),
        until=stamp_of(tested.window.until),
        firings=[
            alert_pb2.BacktestFiring(
                at=stamp_of(each.at),
                occurrence_key=each.key,
                context=context_message(tested.kind, each.context),
                repeats=each.repeats,
            )
            for each in tested.firings
        ],
        withheld=[
            alert_pb2.BacktestWithheld(at=stamp_of(each.at), reason=NOT_FIRED[each.reason]) for each in tested.withheld
        ],
        truncated=tested.is_truncated,
        true_count=tested.true,
        firing_count=tested.fired,
        repeat_count=tested.repeats,
        message_count=tested.fired + tested.repeats,
        not_fired=not_fired_counts(tested.reasons),
        sms_segments=tested.sms_segments,
        missing_history=tested.missing_history,
        notes=tested.notes,
    )


def explanation_message(explained: Explanation) -> alert_pb2.ExplainAlertResponse:
    """Why an alert fires or does not."""
    message = alert_pb2.ExplainAlertResponse(
        summary=explained.summary,
        would_fire=explained.why_not is None,
        at=stamp_of(explained.at),
        active=explained.active,
        currency=explained.currency,
        time_zone=explained.time_zone,
        condition_version=explained.condition_version,
        facts=[_fact_message(each) for each in explained.facts],
    )
    if explained.why_not is not None:
        message.reason = NOT_FIRED[explained.why_not]
    if explained.snoozed_until is not None:
        message.snoozed_until.FromDatetime(explained.snoozed_until)
    if explained.next_possible_at is not None:
        message.next_possible_at.FromDatetime(explained.next_possible_at)
    if explained.crossing is not None:
        message.crossing.armed = explained.crossing.armed
        message.crossing.seen_version = explained.crossing.seen_version
        message.crossing.account_version = explained.crossing.account_version
    return message


def _fact_message(fact: ShownFact) -> alert_pb2.ExplainedFact:
    message = alert_pb2.ExplainedFact(
        fact_id=fact.id,
        currency=fact.currency,
        as_of=stamp_of(fact.as_of),
        clauses=[
            alert_pb2.ExplainedClause(name=each.name, holds=each.holds, values=each.values) for each in fact.clauses
        ],
        reasons=[
            alert_pb2.ExplainedReason(reason=NOT_FIRED[reason], applies=applies) for reason, applies in fact.reasons
        ],
        occurrences=[_occurrence_message(each) for each in fact.occurrences],
        would_fire=fact.why_not is None,
    )
    if fact.why_not is not None:
        message.reason = NOT_FIRED[fact.why_not]
    return message


def _occurrence_message(occurrence: ShownOccurrence) -> alert_pb2.ExplainedOccurrence:
    message = alert_pb2.ExplainedOccurrence(
        key=occurrence.key,
        percent=occurrence.percent,
        reached=occurrence.reached,
        recorded=occurrence.is_recorded,
        fired=bool(occurrence.fired),
    )
    if occurrence.at is not None:
        message.recorded_at.FromDatetime(occurrence.at)
    return message
