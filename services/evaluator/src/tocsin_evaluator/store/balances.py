"""Balances that come with transactions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Update, and_, bindparam, column, func, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from tocsin_evaluator.store.tables import Instant, Money, accounts


@dataclass(frozen=True)
class BalanceAfter:
    """What a transaction says of its account's balance, and as of when."""

    partner_id: int
    account_id: int
    user_id: int
    balance: Decimal
    as_of: datetime


@cache
def _moving() -> Update:
    types: dict[str, TypeEngine[Any]] = {
        "partner_id": BigInteger(),
        "id": BigInteger(),
        "user_id": BigInteger(),
        "balance": Money,
        "as_of": Instant,
    }
    arrays = [bindparam(f"{name}s", type_=ARRAY(type_)) for name, type_ in types.items()]
    shape = [column(name, type_) for name, type_ in types.items()]
    said = func.unnest(*arrays).table_valued(*shape, name="said").render_derived()
    same = and_(accounts.c.partner_id == said.c.partner_id, accounts.c.id == said.c.id)
    differs = and_(said.c.as_of >= accounts.c.as_of, accounts.c.user_id == said.c.user_id) & (
        (said.c.as_of > accounts.c.as_of) | (said.c.balance != accounts.c.balance)
    )
    values = {"balance": said.c.balance, "as_of": said.c.as_of, "received_at": bindparam("arrived", type_=Instant)}
    return (
        update(accounts)
        .where(same, differs)
        .values(**values, version=accounts.c.version + 1)
        .returning(accounts.c.partner_id, accounts.c.id, accounts.c.user_id)
    )


async def move(connection: AsyncConnection, said: Sequence[BalanceAfter], at: datetime) -> set[tuple[int, int, int]]:
    """Move the owner's accounts to these balances, which came in at `at`, unless they know a newer one.

    Answers (partner, account, user) of those that changed.

    The rows are locked before (`upserts.lock`), so their order here does not matter. By primary key.
    """
    if not said:
        return set()
    parameters: dict[str, object] = {
        "arrived": at,
        "partner_ids": [each.partner_id for each in said],
        "ids": [each.account_id for each in said],
        "user_ids": [each.user_id for each in said],
        "balances": [each.balance for each in said],
        "as_ofs": [each.as_of for each in said],
    }
    return {(partner, id_, user) for partner, id_, user in await connection.execute(_moving(), parameters)}
