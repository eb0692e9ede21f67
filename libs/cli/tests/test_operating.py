"""Commands that ask the services."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.alerts.v1 import evaluation_pb2
from tocsin.jobs.v1 import job_pb2, schedule_pb2
from tocsin.notifications.v1 import delivery_pb2
from tocsin.types.v1 import types_pb2
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import not_found, state_conflict

from .conftest import Services

Run = Callable[..., Any]
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def at(hour: int) -> Timestamp:
    """An hour of 3 November 2025."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime(2025, 11, 3, hour, tzinfo=UTC))
    return stamp


DEAD = job_pb2.Job(
    id=ID,
    type="evaluate.user",
    args={"user_id": "42", "partner_id": "7"},
    state=job_pb2.JOB_STATE_DEAD,
    attempt=3,
    max_attempts=3,
    created_at=at(9),
    errors=[job_pb2.AttemptError(attempt=3, at=at(10), reason="database [away]", retryable=True, trace_id="abc")],
)


def test_jobs_are_listed_as_an_operator(operator: Run, services: Services) -> None:
    services.answers["ListJobs"] = job_pb2.ListJobsResponse(jobs=[DEAD])
    result = operator("jobs", "list", "--state", "dead", "--type", "evaluate.user", "--limit", "3")
    assert result.exit_code == 0, result.output
    for text in (ID, "evaluate.user", "dead", "3 of 3", "2025-11-03 09:00:00Z", "database [away]"):
        assert text in result.stdout
    assert services.asked == [job_pb2.ListJobsRequest(state=job_pb2.JOB_STATE_DEAD, type="evaluate.user", page_size=3)]
    assert services.callers[0].scopes == {Scope.ADMIN}


def test_a_state_that_does_not_exist_is_refused_with_those_that_do(operator: Run, services: Services) -> None:
    result = operator("jobs", "list", "--state", "lost")
    assert result.exit_code == 2
    assert "queued" in result.output
    assert "unspecified" not in result.output
    assert services.asked == []


@pytest.mark.parametrize(
    ("arguments", "rpc", "request_sent", "answer"),
    [
        (("show", ID), "GetJob", job_pb2.GetJobRequest(id=ID), job_pb2.GetJobResponse(job=DEAD)),
        (("retry", ID), "RetryJob", job_pb2.RetryJobRequest(id=ID), job_pb2.RetryJobResponse(job=DEAD)),
        (("cancel", ID), "CancelJob", job_pb2.CancelJobRequest(id=ID), job_pb2.CancelJobResponse(job=DEAD)),
        (
            ("trigger", "evaluate.user", "--user", "42", "--partner", "7"),
            "TriggerJob",
            job_pb2.TriggerJobRequest(type="evaluate.user", user_id=42, partner_id=7),
            job_pb2.TriggerJobResponse(job=DEAD),
        ),
    ],
)
def test_one_job_is_shown_with_what_its_attempts_said(
    operator: Run, services: Services, arguments: tuple[str, ...], rpc: str, request_sent: Any, answer: Any
) -> None:
    services.answers[rpc] = answer
    result = operator("jobs", *arguments)
    assert result.exit_code == 0, result.output
    assert services.asked == [request_sent]
    assert "partner_id=7 user_id=42" in result.stdout
    assert "attempt 3 failed 2025-11-03 10:00:00Z: database [away] (may help to retry) abc" in result.stdout


def test_failed_jobs_and_statistics_are_told(operator: Run, services: Services) -> None:
    services.answers["ListFailedJobs"] = job_pb2.ListFailedJobsResponse(jobs=[DEAD])
    assert ID in operator("jobs", "failed").stdout
    count = job_pb2.JobStateCount(state=job_pb2.JOB_STATE_DEAD, count=4)
    stats = job_pb2.JobTypeStats(type="evaluate.bills", counts=[count], failure_rate=0.25)
    stats.p95_duration.FromMilliseconds(1500)
    services.answers["GetJobStats"] = job_pb2.GetJobStatsResponse(types=[stats])
    told = operator("jobs", "stats").stdout
    for text in ("evaluate.bills", "4 dead", "1.50 s", "25.0%"):
        assert text in told


def test_nothing_to_list_is_said(operator: Run) -> None:
    assert operator("jobs", "list").stdout.strip() == "no jobs"
    assert operator("schedules", "list").stdout.strip() == "no schedules"
    assert operator("deliveries", "list").stdout.strip() == "no deliveries"


def test_an_error_is_told_in_words_and_by_status(operator: Run, services: Services) -> None:
    services.answers["GetJob"] = not_found(f"job {ID}")
    result = operator("jobs", "show", ID)
    assert result.exit_code == 1
    assert f"not_found: job {ID} not found" in result.stderr
    assert result.stdout == ""


def test_a_service_that_is_not_there_is_told(tocsin: Run) -> None:
    result = tocsin("jobs", "list", TOCSIN_TOKEN="x", TOCSIN_SCHEDULER_TARGET="127.0.0.1:1")
    assert result.exit_code == 1
    assert "unavailable" in result.stderr


def test_without_a_key_or_token_nothing_is_called(tocsin: Run) -> None:
    result = tocsin("jobs", "list")
    assert result.exit_code == 2
    assert "TOCSIN_TOKEN" in result.stderr


NIGHTLY = schedule_pb2.Schedule(
    name="nightly",
    cron="0 3 * * *",
    time_zone="UTC",
    type="evaluate.retention",
    enabled=False,
    catch_up=schedule_pb2.CATCH_UP_LATEST,
)


def test_schedules_are_paused_and_resumed(operator: Run, services: Services) -> None:
    services.answers["PauseSchedule"] = schedule_pb2.PauseScheduleResponse(schedule=NIGHTLY)
    services.answers["ResumeSchedule"] = schedule_pb2.ResumeScheduleResponse(schedule=NIGHTLY)
    services.answers["RunSchedule"] = schedule_pb2.RunScheduleResponse(job=DEAD)
    assert "paused" in operator("schedules", "pause", "nightly").stdout
    assert "latest" in operator("schedules", "resume", "nightly").stdout
    assert operator("schedules", "run", "nightly").stdout.strip() == f"{ID} evaluate.user"
    assert [request.name for request in services.asked] == ["nightly"] * 3


def test_only_what_is_given_of_a_schedule_changes(operator: Run, services: Services) -> None:
    result = operator("schedules", "set", "nightly", "--cron", "0 4 * * *", "--catch-up", "none")
    assert result.exit_code == 0, result.output
    (request,) = services.asked
    assert list(request.update_mask.paths) == ["cron", "catch_up"]
    assert (request.schedule.cron, request.schedule.catch_up) == ("0 4 * * *", schedule_pb2.CATCH_UP_NONE)
    assert operator("schedules", "set", "nightly").exit_code == 2


FAILED = delivery_pb2.Delivery(
    id=ID,
    partner_id=7,
    user_id=42,
    channel=types_pb2.CHANNEL_SMS,
    status=delivery_pb2.DELIVERY_STATUS_FAILED,
    error="30006",
    attempts=[delivery_pb2.Attempt(number=1, outcome=delivery_pb2.ATTEMPT_OUTCOME_UNKNOWN, possible_duplicate=True)],
)


def test_deliveries_are_listed_shown_and_retried(operator: Run, services: Services) -> None:
    services.answers["ListDeliveries"] = delivery_pb2.ListDeliveriesResponse(deliveries=[FAILED])
    services.answers["GetDelivery"] = delivery_pb2.GetDeliveryResponse(delivery=FAILED)
    listed = operator("deliveries", "list", "--status", "failed", "--channel", "sms", "--partner", "7")
    for text in (ID, "sms", "failed", "30006"):
        assert text in listed.stdout
    assert "unknown (may be a repeat)" in operator("deliveries", "show", ID, "--partner", "7").stdout
    services.answers["RetryDelivery"] = state_conflict("a sent delivery is not tried again")
    refused = operator("deliveries", "retry", ID, "--partner", "7")
    assert (refused.exit_code, "state_conflict" in refused.stderr) == (1, True)
    first, *rest = services.asked
    assert (first.partner_id, first.channel, first.status) == (7, types_pb2.CHANNEL_SMS, FAILED.status)
    assert [(request.id, request.partner_id) for request in rest] == [(ID, 7)] * 2


def ledger(gap: int, *, balanced: bool) -> delivery_pb2.GetLedgerResponse:
    """A minute of 5 firings."""
    minute = delivery_pb2.LedgerMinute(minute=at(9), firings=5, notifications=5 - gap, balanced=balanced)
    total = delivery_pb2.DeliveryTotal(
        channel=types_pb2.CHANNEL_EMAIL, status=delivery_pb2.DELIVERY_STATUS_DELIVERED, count=5
    )
    return delivery_pb2.GetLedgerResponse(minutes=[minute], deliveries=[total], gap=gap, compared_until=at(10))


@pytest.mark.parametrize(("gap", "balanced", "status"), [(0, True, 0), (2, False, 1), (0, False, 1)])
def test_an_audit_fails_when_the_books_do_not_balance(
    operator: Run, services: Services, gap: int, balanced: bool, status: int
) -> None:
    services.answers["GetLedger"] = ledger(gap, balanced=balanced)
    result = operator("audit", "--since", "2025-11-03T09:00Z", "--until", "2025-11-03T10:00+00:00")
    assert result.exit_code == status, result.output
    assert f"5 firings, {5 - gap} notifications, gap {gap}" in result.stdout
    assert "delivered" in result.stdout
    assert (services.asked[0].since, services.asked[0].until) == (at(9), at(10))
    assert ("do not balance" in result.stderr) == bool(status)


def test_missing_firings_are_named(operator: Run, services: Services) -> None:
    services.answers["GetLedger"] = answer = ledger(2, balanced=False)
    answer.missing_firing_ids.append(ID)
    result = operator("audit")
    assert "firings and notifications without a match: 2" in result.stderr
    assert re.search(rf"{ID} +firings without a notification", result.stdout)


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        ("unplanned", "notifications without exactly the deliveries that were planned"),
        ("lost", "deliveries that a worker has kept past its lease"),
        ("overdue", "deliveries due for more than 5 minutes"),
        ("orphans", "deliveries merged into one that nobody got, or digests of nothing"),
    ],
)
def test_an_audit_fails_on_whatever_must_not_be_found_and_names_it(
    operator: Run, services: Services, finding: str, words: str
) -> None:
    services.answers["GetLedger"] = answer = ledger(0, balanced=True)
    assert f"{words}: 0" in operator("audit").stdout
    found = getattr(answer, finding)
    found.count = 3
    found.first.add(partner_id=7, id=ID)
    result = operator("audit")
    assert result.exit_code == 1, result.output
    assert f"{words}: 3" in result.stdout
    assert re.search(rf"{ID} +7 +{words}", result.stdout)
    assert f"the books do not balance: {words}: 3\n" in result.stderr, "and nothing else"


@pytest.mark.parametrize("until", [None, at(9)], ids=["unsaid", "not after since"])
def test_an_audit_that_compares_nothing_does_not_say_that_the_books_balance(
    operator: Run, services: Services, until: Timestamp | None
) -> None:
    services.answers["GetLedger"] = delivery_pb2.GetLedgerResponse(compared_until=until)
    result = operator("audit", "--since", "2025-11-03T09:00Z", "--until", "2025-11-03T10:00Z")
    assert result.exit_code == 1, result.output
    assert "nothing was compared" in result.stderr
    assert "gap" not in result.stdout


def test_a_span_in_which_nothing_fired_balances(operator: Run, services: Services) -> None:
    services.answers["GetLedger"] = delivery_pb2.GetLedgerResponse(compared_until=at(10))
    result = operator("audit", "--since", "2025-11-03T09:00Z", "--until", "2025-11-03T10:00Z")
    assert result.exit_code == 0, result.output
    assert (
        "compared until 2025-11-03 10:00:00Z: 0 minutes in which something fired, 0 firings, 0 notifications, gap 0"
        in result.stdout
    )


def test_firings_of_a_span_are_published_again(operator: Run, services: Services) -> None:
    services.answers["RepublishFirings"] = evaluation_pb2.RepublishFiringsResponse(published=12)
    result = operator("replay", "--since", "2025-11-03T09:00Z", "--until", "2025-11-03T10:00Z", "--partner", "7")
    assert result.stdout.strip() == "12 firings published again"
    assert services.asked == [evaluation_pb2.RepublishFiringsRequest(partner_id=7, since=at(9), until=at(10))]


def test_a_banks_profiles_are_published_again_page_by_page(operator: Run, services: Services) -> None:
    pages = {0: (20_000, 41), 41: (5, None)}

    def page(request: evaluation_pb2.RepublishProfilesRequest) -> evaluation_pb2.RepublishProfilesResponse:
        published, last = pages[request.after_user_id]
        return evaluation_pb2.RepublishProfilesResponse(published=published, last_user_id=last)

    services.answers["RepublishProfiles"] = page
    result = operator("replay", "--profiles", "--partner", "7")
    assert result.stdout.strip() == "20005 profiles published again"
    assert [each.partner_id for each in services.asked] == [7, 7]
    assert operator("replay", "--profiles").exit_code == 2
    assert operator("replay", "--profiles", "--partner", "7", "--since", "1h").exit_code == 2
    assert operator("replay").exit_code == 2


@pytest.mark.parametrize("since", ["yesterday", "2025-11-03T09:00", "2025-13-01T00:00Z", "3w", "999999d"])
def test_an_instant_that_is_none_is_refused(operator: Run, services: Services, since: str) -> None:
    assert operator("replay", "--since", since).exit_code == 2
    assert services.asked == []


def test_a_span_that_ends_before_it_begins_is_refused(operator: Run, services: Services) -> None:
    assert operator("replay", "--since", "2025-11-03T10:00Z", "--until", "2025-11-03T09:00Z").exit_code == 2
    assert services.asked == []
