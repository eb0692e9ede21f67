"""The frozen values that travel between the dispatcher's modules, from a firing taken in to a receipt.

firing ─► recipient, delivery ─► gate (what it looks at, what it answers) ─► messages ─► outcomes ─► receipts
"""

from tocsin_dispatcher.values.delivery import (
    Attempt,
    Delivery,
    Notification,
    Purpose,
    SmsSize,
)
from tocsin_dispatcher.values.firing import (
    AccountThresholdContext,
    AlertKind,
    Channel,
    Firing,
    FiringContext,
    GoalContext,
    JsonContext,
    MerchantNameContext,
    SpendingTargetContext,
    ThresholdDirection,
    TransactionLimitContext,
    UpcomingBillContext,
    WorkClass,
)
from tocsin_dispatcher.values.gate import (
    AlertStanding,
    Counts,
    Displace,
    Expire,
    GateCase,
    GateRules,
    GateVerdict,
    GoAlone,
    Hold,
    Merge,
    Proceed,
    Recipient,
    SameFact,
    SameFactDecision,
    Suppress,
)
from tocsin_dispatcher.values.messages import (
    EmailMessage,
    InAppMessage,
    MailboxEntry,
    SmsMessage,
)
from tocsin_dispatcher.values.outcomes import (
    Outcome,
    OutcomeKind,
)
from tocsin_dispatcher.values.receipts import (
    KindSwitch,
    Receipt,
    ReceiptEffect,
)
from tocsin_dispatcher.values.recipient import (
    Contact,
    PartnerSettings,
    Preferences,
    QuietHours,
)

__all__ = [
    "AccountThresholdContext",
    "AlertKind",
    "AlertStanding",
    "Attempt",
    "Channel",
    "Contact",
    "Counts",
    "Delivery",
    "Displace",
    "EmailMessage",
    "Expire",
    "Firing",
    "FiringContext",
    "GateCase",
    "GateRules",
    "GateVerdict",
    "GoAlone",
    "GoalContext",
    "Hold",
    "InAppMessage",
    "JsonContext",
    "KindSwitch",
    "MailboxEntry",
    "MerchantNameContext",
    "Merge",
    "Notification",
    "Outcome",
    "OutcomeKind",
    "PartnerSettings",
    "Preferences",
    "Proceed",
    "Purpose",
    "QuietHours",
    "Receipt",
    "ReceiptEffect",
    "Recipient",
    "SameFact",
    "SameFactDecision",
    "SmsMessage",
    "SmsSize",
    "SpendingTargetContext",
    "Suppress",
    "ThresholdDirection",
    "TransactionLimitContext",
    "UpcomingBillContext",
    "WorkClass",
]
