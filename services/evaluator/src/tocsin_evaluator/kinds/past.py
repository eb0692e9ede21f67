"""How the stored facts of the past look as rows of a kind's fact, each with the instant `at` at which it was so.

A backtest evaluates a kind's expressions over such rows. They have the columns of the fact that the kind speaks of,
`at`, and a `number` that orders what is of one instant. Parameters: `of_partner`, `of_user`, `of_subject`, `since`
and `until` (both inclusive), and those of `History.parameters`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    FromClause,
    Subquery,
    and_,
    bindparam,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from tocsin_evaluator.model.backtest import Window
from tocsin_evaluator.store.tables import Instant, accounts, transactions

#: Transactions from so long before the window on count for what was told before: a pending form may be that much older.
PENDING_BEFORE = timedelta(days=10)

#: Sorts after every transaction of its instant.
_LAST = 2**63 - 1


@dataclass(frozen=True)
class Past:
    """What is known before the past is read: the subject as it is now (empty where the kind has none), zone, window."""

    fact: Mapping[str, Any]
    zone: ZoneInfo
    window: Window


def _none(_: Past) -> dict[str, object]:
    return {}


@dataclass(frozen=True)
class History:
    """The rows as a subquery `f`, its own parameters, and what a reader of the answer should know."""

    facts: Callable[[], Subquery]
    parameters: Callable[[Past], dict[str, object]] = _none
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class NoHistory:
    """Why there is none."""

    why: str


def owner() -> tuple[BindParameter[int], BindParameter[int], BindParameter[int]]:
    """Partner, user and subject."""
    partner, user, subject = (bindparam(name, type_=BigInteger) for name in ("of_partner", "of_user", "of_subject"))
    return partner, user, subject


def since() -> BindParameter[Any]:
    """The window's first instant."""
    return bindparam("since", type_=Instant)


def until() -> BindParameter[Any]:
    """The window's last instant."""
    return bindparam("until", type_=Instant)


def balances() -> Subquery:
    """An account's balances: what its transactions told, from the last before the window on, then the present one.

    The account by primary key, its transactions by transactions_by_account.
    """
    partner, user, subject = owner()
    t, now = transactions, accounts.alias("now")
    told = (t.c.partner_id == partner, t.c.account_id == subject, t.c.user_id == user, t.c.balance_after.is_not(None))
    before = select(func.max(t.c.posted_at)).where(*told, t.c.posted_at < since()).scalar_subquery()
    last = select(func.max(t.c.posted_at)).where(*told, t.c.posted_at <= until()).scalar_subquery()
    first: ColumnElement[Any] = func.coalesce(before, since(), type_=Instant)
    known = union_all(
        select(
            t.c.posted_at.label("at"),
            t.c.id.label("number"),
            t.c.balance_after.label("balance"),
            cast(null(), Instant).label("closed_at"),
        ).where(*told, t.c.posted_at >= first, t.c.posted_at <= until()),
        select(now.c.as_of, literal(_LAST, BigInteger), now.c.balance, now.c.closed_at).where(
            now.c.partner_id == partner,
            now.c.id == subject,
            now.c.as_of <= until(),
            or_(last.is_(None), now.c.as_of > last),
        ),
    ).subquery("known")
    account = accounts.alias("account")
    return (
        select(
            account.c.partner_id,
            account.c.id,
            account.c.user_id,
            account.c.name,
            known.c.balance,
            account.c.currency,
            known.c.at.label("as_of"),
            known.c.closed_at,
            func.row_number().over(order_by=(known.c.at, known.c.number)).label("version"),
            known.c.at,
            known.c.number,
        )
        .select_from(account.join(known, true()))
        .where(account.c.partner_id == partner, account.c.id == subject, account.c.user_id == user)
        .subquery("f")
    )


BALANCES = History(
    balances,
    notes=(
        "Balances are known where a transaction told the balance after it, and as the account stands now; "
        "what lay between is not known. Transactions of one instant are taken in the order of their ids.",
    ),
)


def purchases() -> Subquery:
    """A user's transactions as they are now, by transactions_by_user, with their holds from before."""
    partner, user, _ = owner()
    t, posted = transactions, transactions.alias("posted")
    reach = bindparam("reach", type_=Instant)

    def in_reach(of: FromClause) -> ColumnElement[bool]:
        return and_(of.c.partner_id == partner, of.c.user_id == user, of.c.posted_at.between(reach, until()))

    # A hold that the bank has linked may be older than any window's reach, and was told then; by primary key.
    held = select(posted.c.other_form_id).where(in_reach(posted), posted.c.other_form_id.is_not(None))
    earlier = and_(t.c.partner_id == partner, t.c.user_id == user, t.c.posted_at < reach, t.c.id.in_(held))
    rows = (t, t.c.posted_at.label("at"), t.c.id.label("number"))
    return union_all(select(*rows).where(in_reach(t)), select(*rows).where(earlier)).subquery("f")


def _reach(past: Past) -> dict[str, object]:
    return {"reach": past.window.since - PENDING_BEFORE}


PURCHASES = History(
    purchases,
    _reach,
    notes=("Transactions are taken as the bank tells them now: one that was taken back since counts as never made.",),
)
