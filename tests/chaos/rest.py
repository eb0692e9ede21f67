"""Facts as the gateway's REST interface takes them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from tocsin_devstack.scenario import Account, Bill, Budget, Fact, Goal, Profile, Transaction
from tocsin_kit.money import amount_text

INGEST = "/api/v2/ingest/"
_KINDS: Mapping[type, str] = {
    Profile: "profiles",
    Account: "accounts",
    Transaction: "transactions",
    Goal: "goals",
    Budget: "budgets",
    Bill: "bills",
}
_TAKEN: Mapping[type, tuple[str, ...]] = {
    Profile: ("user_id", "email", "phone", "phone_verified", "locale", "time_zone", "currency"),
    Account: ("id", "user_id", "name", "balance", "currency", "as_of"),
    Transaction: (
        "id",
        "user_id",
        "account_id",
        "amount",
        "currency",
        "merchant",
        "description",
        "category",
        "posted_at",
        "status",
        "pending_transaction_id",
        "is_estimate",
        "balance_after",
    ),
    Goal: ("id", "user_id", "name", "currency", "current_amount", "target_amount"),
    Budget: ("id", "user_id", "name", "category", "currency", "amount", "period"),
    Bill: ("id", "user_id", "name", "currency", "amount", "due_on", "paid_through"),
}
_ADDED: Mapping[type, Mapping[str, Any]] = {
    Profile: {"email_verified": True},
    Budget: {"spent_source": "derived"},
    Bill: {"recurrence": "monthly"},
}
_OTHER_NAMES = {"due_on": "due_date"}


def requests_for(facts: Iterable[Fact], *, backfill: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, body) of the calls that post these facts in their order, consecutive ones of a kind together."""
    for type_, together in groupby(facts, key=type):
        kind = _KINDS[type_]
        body: dict[str, Any] = {kind: [_item(fact) for fact in together]}
        yield f"{INGEST}{kind}", {**body, "backfill": True} if backfill else body


def _item(fact: Fact) -> dict[str, Any]:
    values = {name: getattr(fact, name) for name in _TAKEN[type(fact)]}
    said = {_OTHER_NAMES.get(name, name): _json(value) for name, value in values.items() if value is not None}
    return {**said, **_ADDED.get(type(fact), {})}


def _json(value: object) -> object:
    """Whole numbers and money are text in JSON, instants in UTC."""
    match value:
        case bool():
            return value
        case Decimal():
            return amount_text(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case _:
            return str(value)
