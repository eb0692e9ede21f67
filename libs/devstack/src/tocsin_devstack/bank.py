"""The simulated bank's back end: posts facts to the evaluator over gRPC with a service token, as a real one does."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

import grpc

from tocsin.alerts.v1 import fact_pb2 as pb
from tocsin.alerts.v1.fact_pb2_grpc import FactServiceStub
from tocsin_devstack.scenario import (
    Account,
    Bill,
    Budget,
    BudgetPeriod,
    Fact,
    Goal,
    Profile,
    Transaction,
    TransactionStatus,
)
from tocsin_kit.money import amount_text

BATCH = 1000
_STATUS = {
    TransactionStatus.PENDING: pb.TRANSACTION_STATUS_PENDING,
    TransactionStatus.POSTED: pb.TRANSACTION_STATUS_POSTED,
    TransactionStatus.REVERSED: pb.TRANSACTION_STATUS_REVERSED,
}
_PERIOD = {
    BudgetPeriod.WEEKLY: pb.BUDGET_PERIOD_WEEKLY,
    BudgetPeriod.MONTHLY: pb.BUDGET_PERIOD_MONTHLY,
}


class FactRefused(Exception):
    """The evaluator refused a fact: the scenario is at fault."""


class _Answer(Protocol):
    """What every posting answers."""

    @property
    def accepted(self) -> int: ...
    @property
    def rejected(self) -> Sequence[pb.Rejection]: ...


class Bank:
    """Posts facts in their order, consecutive ones of a type together."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._service = FactServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def post(self, facts: Iterable[Fact], *, backfill: bool = False) -> int:
        """Post the facts and answer how many were accepted, which is all. Raises FactRefused naming the first refused.

        A batch holds an id once: two forms of one transaction go in two batches.
        """
        accepted = 0
        for batch in _batches(facts):
            answer = await self._post(batch, backfill)
            if answer.rejected:
                first = answer.rejected[0]
                raise FactRefused(f"{batch[first.index]}: {first.field} {first.message}")
            accepted += answer.accepted
        return accepted

    async def _post(self, batch: Sequence[Fact], backfill: bool) -> _Answer:
        service, metadata = self._service, self._metadata
        match batch[0]:
            case Profile():
                profiles = [_profile(fact) for fact in batch if isinstance(fact, Profile)]
                return await service.PutProfiles(pb.PutProfilesRequest(profiles=profiles), metadata=metadata)
            case Account():
                accounts = [_account(fact) for fact in batch if isinstance(fact, Account)]
                request = pb.PutAccountsRequest(accounts=accounts, backfill=backfill)
                return await service.PutAccounts(request, metadata=metadata)
            case Transaction():
                lines = [_transaction(fact) for fact in batch if isinstance(fact, Transaction)]
                posting = pb.PostTransactionsRequest(transactions=lines, backfill=backfill)
                return await service.PostTransactions(posting, metadata=metadata)
            case Goal():
                goals = [_goal(fact) for fact in batch if isinstance(fact, Goal)]
                return await service.PutGoals(pb.PutGoalsRequest(goals=goals), metadata=metadata)
            case Budget():
                budgets = [_budget(fact) for fact in batch if isinstance(fact, Budget)]
                return await service.PutBudgets(pb.PutBudgetsRequest(budgets=budgets), metadata=metadata)
            case Bill():
                bills = [_bill(fact) for fact in batch if isinstance(fact, Bill)]
                return await service.PutBills(pb.PutBillsRequest(bills=bills), metadata=metadata)


def _batches(facts: Iterable[Fact]) -> Iterator[list[Fact]]:
    for _, together in groupby(facts, key=type):
        batch: list[Fact] = []
        ids: set[int] = set()
        for fact in together:
            number = fact.user_id if isinstance(fact, Profile) else fact.id
            if number in ids or len(batch) == BATCH:
                yield batch
                batch, ids = [], set()
            batch.append(fact)
            ids.add(number)
        yield batch


def _profile(fact: Profile) -> pb.Profile:
    return pb.Profile(
        user_id=fact.user_id,
        email=fact.email,
        phone=fact.phone,
        email_verified=True,
        phone_verified=fact.phone_verified,
        locale=fact.locale,
        time_zone=fact.time_zone,
        currency=fact.currency,
    )


def _account(fact: Account) -> pb.Account:
    message = pb.Account(
        id=fact.id,
        user_id=fact.user_id,
        name=fact.name,
        balance=amount_text(fact.balance),
        currency=fact.currency,
    )
    message.as_of.FromDatetime(fact.as_of)
    return message


def _transaction(fact: Transaction) -> pb.Transaction:
    message = pb.Transaction(
        id=fact.id,
        user_id=fact.user_id,
        account_id=fact.account_id,
        amount=amount_text(fact.amount),
        currency=fact.currency,
        merchant=fact.merchant,
        description=fact.description,
        category=fact.category,
        status=_STATUS[fact.status],
        pending_transaction_id=fact.pending_transaction_id,
        is_estimate=fact.is_estimate,
        balance_after="" if fact.balance_after is None else amount_text(fact.balance_after),
    )
    if fact.posted_at is None:
        message.posted_on = fact.posted_on.isoformat()
    else:
        message.posted_at.FromDatetime(fact.posted_at)
    return message


def _goal(fact: Goal) -> pb.Goal:
    return pb.Goal(
        id=fact.id,
        user_id=fact.user_id,
        name=fact.name,
        currency=fact.currency,
        current_amount=amount_text(fact.current_amount),
        target_amount=amount_text(fact.target_amount),
    )


def _budget(fact: Budget) -> pb.Budget:
    return pb.Budget(
        id=fact.id,
        user_id=fact.user_id,
        name=fact.name,
        category=fact.category,
        currency=fact.currency,
        amount=amount_text(fact.amount),
        period=_PERIOD[fact.period],
        spent_source=pb.SPENT_SOURCE_DERIVED,
    )


def _bill(fact: Bill) -> pb.Bill:
    return pb.Bill(
        id=fact.id,
        user_id=fact.user_id,
        name=fact.name,
        currency=fact.currency,
        amount=amount_text(fact.amount),
        due_date=fact.due_on.isoformat(),
        recurrence=pb.BILL_RECURRENCE_MONTHLY,
        paid_through=fact.paid_through.isoformat() if fact.paid_through else "",
    )
