"""The rules written in the protos refuse what the contract forbids, and name the field."""

import protovalidate
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from tocsin.alerts.v1 import alert_pb2, fact_pb2
from tocsin.jobs.v1 import job_pb2
from tocsin.notifications.v1 import notification_pb2, partner_pb2, preference_pb2
from tocsin.types.v1 import types_pb2

VALIDATOR = protovalidate.Validator()


def fields_at_fault(message: Message) -> set[str]:
    """The fields that break a rule, dotted."""
    return {
        ".".join(step.field_name for step in found.proto.field.elements) if found.proto.field else ""
        for found in VALIDATOR.collect_violations(message)
    }


def threshold(**changes: object) -> alert_pb2.AccountThresholdCondition:
    """A condition that breaks no rule, but for what is changed."""
    sound: dict[str, object] = {
        "account_id": 7,
        "threshold": "500.00",
        "currency": "USD",
        "direction": types_pb2.THRESHOLD_DIRECTION_BELOW,
    }
    return alert_pb2.AccountThresholdCondition(**(sound | changes))  # type: ignore[arg-type]


def transaction(**changes: object) -> fact_pb2.Transaction:
    """A transaction that breaks no rule, but for what is changed."""
    sound: dict[str, object] = {
        "id": 1,
        "user_id": 1,
        "account_id": 1,
        "amount": "-12.50",
        "currency": "USD",
        "posted_on": "2025-11-01",
    }
    return fact_pb2.Transaction(**(sound | changes))  # type: ignore[arg-type]


PARTIAL = alert_pb2.AccountThresholdCondition(threshold="1.00")
LIMIT = alert_pb2.TransactionLimitCondition
MERCHANT = alert_pb2.MerchantNameCondition
GOAL = types_pb2.ALERT_TYPE_GOAL
CONTAINS = alert_pb2.MERCHANT_MATCH_CONTAINS

SOUND: list[Message] = [
    alert_pb2.Alert(account_threshold=threshold()),
    alert_pb2.Alert(account_threshold=threshold(threshold="-99999999999999.9999")),
    alert_pb2.Alert(account_threshold=threshold(), cooldown=Duration(seconds=300)),
    alert_pb2.Alert(goal=alert_pb2.GoalCondition(goal_id=1, milestones=[1, 100])),
    alert_pb2.Alert(spending_target=alert_pb2.SpendingTargetCondition(budget_id=1, thresholds=[1, 200])),
    alert_pb2.Alert(upcoming_bill=alert_pb2.UpcomingBillCondition(bill_id=1, days_before=0)),
    alert_pb2.Alert(upcoming_bill=alert_pb2.UpcomingBillCondition(bill_id=1, days_before=21)),
    LIMIT(amount="0.0001", currency="USD"),
    MERCHANT(merchant_pattern="x" * 100, match_type=CONTAINS),
    transaction(),
    # a partial change may leave out what a whole alert needs; the result is checked after merging
    alert_pb2.UpdateAlertRequest(id=1, alert=alert_pb2.Alert(account_threshold=PARTIAL)),
    # a bad item is refused alone, by the servicer, not with its whole batch
    fact_pb2.PostTransactionsRequest(transactions=[fact_pb2.Transaction()]),
    fact_pb2.PostTransactionsRequest(transactions=[transaction()] * 1000),
    preference_pb2.Preferences(quiet_hours=preference_pb2.QuietHours(enabled=True, start="00:00", end="23:59")),
    notification_pb2.ListNotificationsRequest(page_size=200),
]

UNSOUND: list[tuple[Message, str]] = [
    (alert_pb2.CreateAlertRequest(), "alert"),
    (alert_pb2.Alert(), "condition"),
    (alert_pb2.Alert(account_threshold=threshold(account_id=0)), "account_threshold.account_id"),
    # 15 digits before the point, 5 after it, an exponent, a comma
    (alert_pb2.Alert(account_threshold=threshold(threshold="9" * 15)), "account_threshold.threshold"),
    (alert_pb2.Alert(account_threshold=threshold(threshold="1.00001")), "account_threshold.threshold"),
    (alert_pb2.Alert(account_threshold=threshold(threshold="1e3")), "account_threshold.threshold"),
    (alert_pb2.Alert(account_threshold=threshold(threshold="1,00")), "account_threshold.threshold"),
    (alert_pb2.Alert(account_threshold=threshold(currency="usd")), "account_threshold.currency"),
    (alert_pb2.Alert(account_threshold=threshold(direction=0)), "account_threshold.direction"),
    (alert_pb2.Alert(account_threshold=threshold(), cooldown=Duration(seconds=299)), "cooldown"),
    (alert_pb2.Alert(account_threshold=threshold(), cooldown=Duration(seconds=-1)), "cooldown"),
    (alert_pb2.GoalCondition(goal_id=1, milestones=[0]), "milestones"),
    (alert_pb2.GoalCondition(goal_id=1, milestones=[101]), "milestones"),
    (alert_pb2.GoalCondition(goal_id=1, milestones=[50, 50]), "milestones"),
    (alert_pb2.SpendingTargetCondition(budget_id=1, thresholds=[201]), "thresholds"),
    (alert_pb2.UpcomingBillCondition(bill_id=1, days_before=22), "days_before"),
    (alert_pb2.UpcomingBillCondition(bill_id=1, days_before=-1), "days_before"),
    (LIMIT(amount="0.00", currency="USD"), "amount"),
    (LIMIT(amount="-5", currency="USD"), "amount"),
    (MERCHANT(merchant_pattern="", match_type=CONTAINS), "merchant_pattern"),
    (MERCHANT(merchant_pattern=" \t", match_type=CONTAINS), "merchant_pattern"),
    (MERCHANT(merchant_pattern="x" * 101, match_type=CONTAINS), "merchant_pattern"),
    (MERCHANT(merchant_pattern="x\0", match_type=CONTAINS), "merchant_pattern"),
    (transaction(amount=""), "amount"),
    (transaction(posted_on="1 Nov 2025"), "posted_on"),
    (transaction(merchant="a\0b"), "merchant"),
    (fact_pb2.PostTransactionsRequest(), "transactions"),
    (fact_pb2.PostTransactionsRequest(transactions=[transaction()] * 1001), "transactions"),
    (fact_pb2.Profile(user_id=1, phone="555-0100"), "phone"),
    (fact_pb2.Profile(user_id=1, email="nobody"), "email"),
    (notification_pb2.ListNotificationsRequest(page_size=201), "page_size"),
    (notification_pb2.GetNotificationRequest(id="7"), "id"),
    (preference_pb2.Preferences(digest_hour=24), "digest_hour"),
    (preference_pb2.QuietHours(start="24:00"), "start"),
    (preference_pb2.ChannelOverride(alert_type=GOAL, channel=types_pb2.CHANNEL_IN_APP), "channel"),
    (partner_pb2.PartnerSettings(sms_segments=4), "sms_segments"),
    (job_pb2.TriggerJobRequest(type="Evaluate"), "type"),
]


@pytest.mark.parametrize("message", SOUND, ids=lambda message: type(message).__name__)
def test_what_the_contract_allows_breaks_no_rule(message: Message) -> None:
    assert fields_at_fault(message) == set()


@pytest.mark.parametrize(("message", "field"), UNSOUND, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_what_the_contract_forbids_is_refused_by_the_name_of_its_field(message: Message, field: str) -> None:
    assert fields_at_fault(message) == {field}


def test_a_kind_is_named_once_per_channel() -> None:
    email_off = preference_pb2.ChannelOverride(alert_type=GOAL, channel=types_pb2.CHANNEL_EMAIL)
    sms_off = preference_pb2.ChannelOverride(alert_type=GOAL, channel=types_pb2.CHANNEL_SMS)
    assert fields_at_fault(preference_pb2.Preferences(overrides=[email_off, sms_off])) == set()
    assert fields_at_fault(preference_pb2.Preferences(overrides=[email_off, email_off])) == {"overrides"}
