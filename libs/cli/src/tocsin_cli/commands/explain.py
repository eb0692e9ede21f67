"""`tocsin explain`: why an alert fires or does not."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.alerts.v1 import alert_pb2
from tocsin_cli.alerts import AsJson, Partner, User, ask, print_json
from tocsin_cli.choices import word
from tocsin_cli.show import fields, instant, say, table

_REASON = alert_pb2.DESCRIPTOR.enum_types_by_name["NotFiredReason"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(run)


def run(
    alert_id: Annotated[int, typer.Argument(min=1, help="The alert's id.")],
    user: User = None,
    partner: Partner = None,
    as_json: AsJson = False,
) -> None:
    """Tell why an alert would fire now, or why not: its facts, each part of its condition, and what it has told.

    For example: tocsin explain 12 --user 1
    """
    request = alert_pb2.ExplainAlertRequest(id=alert_id)
    answer = ask(partner, user, lambda alerts, metadata: alerts.ExplainAlert(request, metadata=metadata))
    if as_json:
        print_json(answer)
    else:
        _print(answer)


def _print(answer: alert_pb2.ExplainAlertResponse) -> None:
    say(answer.summary)
    crossing = ""
    if answer.HasField("crossing"):
        seen, now = answer.crossing.seen_version, answer.crossing.account_version
        crossing = f"{'armed' if answer.crossing.armed else 'not armed'}, seen version {seen} of {now}"
    fields(
        (
            ("active", "yes" if answer.active else "no"),
            ("snoozed until", instant(answer.snoozed_until)),
            ("next possible at", instant(answer.next_possible_at)),
            ("currency", answer.currency),
            ("time zone", answer.time_zone),
            ("crossing", crossing),
        )
    )
    for fact in answer.facts:
        say("")
        _print_fact(fact)


def _print_fact(fact: alert_pb2.ExplainedFact) -> None:
    verdict = "would fire" if fact.would_fire else word(_REASON, fact.reason)
    say(f"fact {fact.fact_id}, {fact.currency}, as of {instant(fact.as_of)}: {verdict}")
    table(
        ("clause", "holds", "values"),
        (
            (
                clause.name,
                "yes" if clause.holds else "no",
                ", ".join(f"{name} {value}" for name, value in sorted(clause.values.items())),
            )
            for clause in fact.clauses
        ),
        nothing="no clauses",
    )
    applying = [word(_REASON, each.reason) for each in fact.reasons if each.applies]
    fields((("against it", ", ".join(applying)),))
    if fact.occurrences:
        table(
            ("occurrence", "percent", "reached", "recorded"),
            (
                (
                    each.key,
                    str(each.percent) if each.HasField("percent") else "",
                    "yes" if each.reached else "no",
                    f"{'told' if each.fired else 'passed'} {instant(each.recorded_at)}" if each.recorded else "no",
                )
                for each in fact.occurrences
            ),
            nothing="",
        )
