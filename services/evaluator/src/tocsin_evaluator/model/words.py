"""The closed lists of the evaluator. Their values are the words stored in the database, logged and counted."""

from enum import IntEnum, StrEnum


class KindName(StrEnum):
    """The six kinds of alert."""

    ACCOUNT_THRESHOLD = "account_threshold"
    GOAL = "goal"
    MERCHANT_NAME = "merchant_name"
    SPENDING_TARGET = "spending_target"
    TRANSACTION_LIMIT = "transaction_limit"
    UPCOMING_BILL = "upcoming_bill"


class FactKind(StrEnum):
    """What a bank posts. The order is the order in which every transaction locks their rows."""

    PROFILE = "profile"
    ACCOUNT = "account"
    GOAL = "goal"
    TRANSACTION = "transaction"
    BUDGET = "budget"
    BILL = "bill"


class Way(StrEnum):
    """How an evaluation came about, as the ledger counts it."""

    REALTIME = "realtime"
    SWEEP = "sweep"
    BILLS = "bills"
    USER = "user"


class WorkClass(StrEnum):
    """The lane a firing travels in."""

    REALTIME = "realtime"
    USER = "user"
    PERIODIC = "periodic"
    BILLS = "bills"


#: The lane of what each way fires.
CLASS_OF = {
    Way.REALTIME: WorkClass.REALTIME,
    Way.SWEEP: WorkClass.PERIODIC,
    Way.BILLS: WorkClass.BILLS,
    Way.USER: WorkClass.USER,
}


class Reason(StrEnum):
    """Why an alert that is true does not fire, in the order in which the first that applies is named."""

    BACKFILL = "backfill"
    SNOOZED = "snoozed"
    CURRENCY = "currency"
    STALE = "stale"
    COOLDOWN = "cooldown"
    NOT_REARMED = "not_rearmed"
    ALREADY_SENT = "already_sent"
    PASSED = "passed"


class Verdict(StrEnum):
    """What a scan says of an alert beside a `Reason`."""

    FIRE = "fire"
    NOTE = "note"
    REARM = "rearm"
    FALSE = "false"


class AfterEdit(IntEnum):
    """How an alert is to be evaluated after its creation or edit; the greater outweighs the other.

    Silently: what a goal has reached before its alert is noted and not told.
    """

    ALOUD = 1
    SILENTLY = 2


class Channel(StrEnum):
    """The channels an alert may ask for; the inbox always gets it."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    WEBHOOK = "webhook"


class Direction(StrEnum):
    """Which side of a threshold fires."""

    BELOW = "below"
    ABOVE = "above"


class Repeat(StrEnum):
    """Whether a threshold fires each cooldown while it is true, or once per crossing."""

    WHILE_TRUE = "while_true"
    ON_CROSSING = "on_crossing"


class MatchType(StrEnum):
    """How a merchant is compared with the pattern."""

    EXACT = "exact"
    CONTAINS = "contains"


class Frequency(StrEnum):
    """How often a merchant alert tells."""

    IMMEDIATE = "immediate"
    FIRST_OF_DAY = "first_of_day"
    DAILY_DIGEST = "daily_digest"


class MoneyFlow(StrEnum):
    """Which transactions a limit looks at: a debit is money out."""

    ANY = "any"
    DEBIT = "debit"
    CREDIT = "credit"


class TransactionStatus(StrEnum):
    """What the bank says of a transaction."""

    PENDING = "pending"
    POSTED = "posted"
    REVERSED = "reversed"


class BudgetPeriod(StrEnum):
    """How often a budget starts anew."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


class Recurrence(StrEnum):
    """How often a bill comes back."""

    NONE = "none"
    WEEKLY = "weekly"
    EVERY_TWO_WEEKS = "every_two_weeks"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"


class Refusal(StrEnum):
    """Why an item of a batch is refused; words of the contract's closed list of reasons."""

    INVALID_FIELD = "invalid_field"
    ID_BELONGS_TO_ANOTHER = "id_belongs_to_another"


class SpentSource(StrEnum):
    """Where a budget's spending comes from."""

    REPORTED = "reported"
    DERIVED = "derived"
