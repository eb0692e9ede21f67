"""One transaction that takes facts in and fires what they make true.

Order, which is the lock order: the users whose purchases and budgets it writes; then profiles, accounts, goals,
transactions, budgets, bills; then the alerts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.evaluation.run import Moment, fire_arrived
from tocsin_evaluator.evaluation.touched import Touch, Touched
from tocsin_evaluator.facts.derived import Affected
from tocsin_evaluator.facts.merging import ANOTHERS, contested, merged
from tocsin_evaluator.facts.pairing import pair_forms
from tocsin_evaluator.facts.stored import account_row, goal_row, person_row, transaction_row, zone_of
from tocsin_evaluator.facts.taking_bills import take_bills
from tocsin_evaluator.facts.taking_budgets import take_budgets
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.facts import (
    Account,
    Arrival,
    Bill,
    Budget,
    Fact,
    FactKey,
    Goal,
    Profile,
    Refused,
    Transaction,
    key_of,
)
from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import FactKind, KindName, Way
from tocsin_evaluator.store import balances, profile_copies, purchases
from tocsin_evaluator.store.balances import BalanceAfter
from tocsin_evaluator.store.people import Known, enter
from tocsin_evaluator.store.profile_copies import Copy
from tocsin_evaluator.store.rows import TransactionRow
from tocsin_evaluator.store.tables import accounts, bills, budgets, goals, transactions
from tocsin_evaluator.store.upserts import Key, Put, Row, lock, owner_by_key, put
from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.sealing import Seals

#: Encodes a profile with its version for the dispatcher.
EncodeProfile = Callable[[Profile, int], bytes]
PROFILES_SUBJECT = "tocsin.profiles"
#: The facts whose ids may be claimed by several users.
_OWNED = {
    FactKind.ACCOUNT: accounts,
    FactKind.GOAL: goals,
    FactKind.TRANSACTION: transactions,
    FactKind.BUDGET: budgets,
    FactKind.BILL: bills,
}


@dataclass
class Taken:
    """What became of a batch: refusals by position, users without a profile, and what was fired and written."""

    refused: dict[int, Refused] = field(default_factory=dict)
    unknown_people: frozenset[Key] = frozenset()
    tallies: dict[KindName, Tally] = field(default_factory=dict)
    profiles_told: list[Outgoing] = field(default_factory=list)


@dataclass(frozen=True)
class Intake:
    """Takes batches in, each in the transaction of the connection it is given."""

    outbox: Outbox
    encode_profile: EncodeProfile
    max_age: timedelta
    registry: Registry
    seals: Seals

    async def take_in(self, connection: AsyncConnection, arrivals: Sequence[Arrival], at: datetime) -> Taken:
        """Write the batch and fire. Raises what PostgreSQL raises for data that cannot be stored."""
        batch = merged(arrivals, await _owners(connection, contested(arrivals)))
        step = _Step(connection, batch.arrivals, at, self)
        await step.run()
        refused = {position: ANOTHERS for position, each in enumerate(arrivals) if key_of(each.fact) in step.foreign}
        return Taken({**refused, **batch.refused}, step.unknown_people(), step.tallies, step.profiles_told)


class _Step:
    """The state of one transaction while it takes a batch in."""

    def __init__(
        self, connection: AsyncConnection, arrivals: dict[FactKey, Arrival], at: datetime, intake: Intake
    ) -> None:
        self._connection, self._arrivals, self._at, self._intake = connection, arrivals, at, intake
        self._people: dict[Key, Known] = {}
        self._touched = Touched(intake.registry)
        self._affected = Affected()
        self._moved: dict[Key, Touch] = {}
        self.foreign: set[FactKey] = set()
        self.tallies: dict[KindName, Tally] = {}
        self.profiles_told: list[Outgoing] = []

    async def run(self) -> None:
        """Everything, in the lock order."""
        # Those of whom an edit's evaluation may be waiting to see what comes, or whose facts find each other.
        awaited = [*self._of(Transaction), *self._of(Budget), *self._of(Bill)]
        self._people = await enter(self._connection, _users_of(self._arrivals.values()), _users_of(awaited))
        await self._take_profiles()
        await self._take_accounts()
        await self._take_goals()
        await self._take_transactions()
        await self._take_budgets()
        await self._take_bills()
        if self._touched.kinds():
            moment = Moment(self._at, Way.REALTIME, self._intake.max_age)
            self.tallies = await fire_arrived(self._connection, self._touched, moment)

    def unknown_people(self) -> frozenset[Key]:
        """Users of whom no profile is known."""
        return frozenset(_users_of(self._arrivals.values()) - self._people.keys())

    def _of(self, kind: type[Fact]) -> list[Arrival]:
        return [each for each in self._arrivals.values() if isinstance(each.fact, kind)]

    async def _put(self, arrivals: Sequence[Arrival], rows: Sequence[Row]) -> Put:
        """Write rows, note whose id is another's, and answer what changed."""
        done = await put(self._connection, rows)
        self._note_foreign(arrivals, done)
        return done

    def _note_foreign(self, arrivals: Sequence[Arrival], done: Put) -> None:
        self.foreign |= {key_of(each.fact) for each in arrivals if (each.fact.partner_id, each.fact.id) in done.foreign}

    async def _take_profiles(self) -> None:
        arrivals = self._of(Profile)
        rows = [person_row(each.fact) for each in arrivals if isinstance(each.fact, Profile)]
        before, copies = self._people, list[Copy]()
        done = await self._put(arrivals, rows)
        for each in arrivals:
            profile = each.fact
            key = (profile.partner_id, profile.user_id)
            if isinstance(profile, Profile) and key in done.versions:
                self._people = {**self._people, key: Known(profile.time_zone, done.versions[key])}
                self._tell(each, profile, done.versions[key])
                copies += self._copies(profile, done.versions[key])
                if key not in before or before[key].time_zone != profile.time_zone:
                    self._moved[key] = Touch(each.backfill, each.trace)
                    self._affected.whole_user(key, self._moved[key])
        await self._intake.outbox.add(self._connection, self.profiles_told, self._at)
        await profile_copies.keep(self._connection, copies, self._at)

    def _tell(self, arrival: Arrival, profile: Profile, version: int) -> None:
        self.profiles_told.append(
            Outgoing(
                work_class="user",
                subject=PROFILES_SUBJECT,
                message_id=f"{profile.partner_id}:{profile.user_id}:{version}",
                payload=self._intake.encode_profile(profile, version),
                traceparent=arrival.trace.traceparent,
                tracestate=arrival.trace.tracestate,
            )
        )

    def _copies(self, profile: Profile, version: int) -> list[Copy]:
        """The event that was just told, sealed; none where there is no key."""
        if not self._intake.seals.can_seal:
            return []
        blank = Copy(profile.partner_id, profile.user_id, version, b"")
        return [replace(blank, sealed=self._intake.seals.seal(self.profiles_told[-1].payload, blank.name))]

    async def _take_accounts(self) -> None:
        arrivals = self._of(Account)
        rows = [account_row(each.fact, self._at) for each in arrivals if isinstance(each.fact, Account)]
        moved_by = [each.fact for each in self._of(Transaction) if isinstance(each.fact, Transaction)]
        moved = {(each.partner_id, each.account_id) for each in moved_by if each.balance_after is not None}
        keys = {(row.partner_id, row.id) for row in rows} | moved
        await lock(self._connection, accounts, keys)
        self._touched.add_written(accounts, arrivals, (await self._put(arrivals, rows)).versions)

    async def _take_goals(self) -> None:
        arrivals = self._of(Goal)
        rows = [goal_row(each.fact, self._at) for each in arrivals if isinstance(each.fact, Goal)]
        self._touched.add_written(goals, arrivals, (await self._put(arrivals, rows)).versions)

    async def _take_transactions(self) -> None:
        arrivals = self._of(Transaction)
        if not arrivals:
            return
        rows = {(row.partner_id, row.id): row for row in map(self._transaction_row, arrivals)}
        done = await self._put(arrivals, list(rows.values()))
        accepted = {key: rows[key] for key in rows if key in done.versions}
        for each in arrivals:
            key = (each.fact.partner_id, each.fact.id)
            if key in accepted:
                row, touch = accepted[key], Touch(accepted[key].backfill, each.trace)
                self._touched.add(transactions, key, touch)
                for category in {row.category, done.categories_before.get(key, row.category)}:
                    self._affected.category((row.partner_id, row.user_id), category, touch)
        self._affected.also(await pair_forms(self._connection, done.versions))
        linked = [key for key, row in accepted.items() if done.versions[key] == 1 and row.pending_transaction_id]
        await purchases.keep_apart(self._connection, linked)
        await self._move_balances(list(accepted.values()))

    def _transaction_row(self, arrival: Arrival) -> TransactionRow:
        if not isinstance(arrival.fact, Transaction):
            raise TypeError("not a transaction")
        zone = zone_of((arrival.fact.partner_id, arrival.fact.user_id), self._people)
        return transaction_row(arrival.fact, zone, at=self._at, backfill=arrival.backfill, max_age=self._intake.max_age)

    async def _move_balances(self, rows: Sequence[TransactionRow]) -> None:
        """The newest balance by (posted_at, order in the batch) moves each account, if its own user's says so.

        It is known as of now at the latest: a purchase of the days to come would shut the account's own balance out.
        """
        newest: dict[tuple[int, int, int], TransactionRow] = {}
        for row in sorted(rows, key=lambda row: row.posted_at):  # stable: the batch's order breaks ties
            if row.balance_after is not None:
                newest[row.partner_id, row.account_id, row.user_id] = row
        said = [
            BalanceAfter(row.partner_id, row.account_id, row.user_id, row.balance_after, min(row.posted_at, self._at))
            for row in newest.values()
            if row.balance_after is not None
        ]
        for moved in await balances.move(self._connection, said, self._at):
            row = newest[moved]
            arrival = self._arrivals[FactKey(row.partner_id, FactKind.TRANSACTION, row.id)]
            self._touched.add(accounts, moved[:2], Touch(row.backfill, arrival.trace))

    async def _take_budgets(self) -> None:
        arrivals = self._of(Budget)
        brought = [each.fact for each in arrivals if isinstance(each.fact, Budget)]
        spent = await take_budgets(self._connection, brought, self._affected, self._people, self._at)
        self._note_foreign(arrivals, spent.done)
        self._touched.add_written(budgets, arrivals, spent.done.versions)
        for key, each in spent.changed.items():
            cause = self._affected.cause_of(each)
            if cause is not None:  # else only the budget itself came, which is noted
                self._touched.add(budgets, key, cause)

    async def _take_bills(self) -> None:
        arrivals = self._of(Bill)
        brought = [each.fact for each in arrivals if isinstance(each.fact, Bill)]
        due = await take_bills(self._connection, brought, self._moved, self._at)
        self._note_foreign(arrivals, due.done)
        for each in due.of_movers:
            self._touched.add(bills, each.key, self._moved[each.owner])
        self._touched.add_written(bills, arrivals, due.done.versions)


async def _owners(connection: AsyncConnection, keys: Iterable[FactKey]) -> dict[FactKey, int]:
    """Whose the stored ones of these facts are."""
    wanted, found = list(keys), dict[FactKey, int]()
    for kind, table in _OWNED.items():
        mine = {(key.partner_id, key.id) for key in wanted if key.kind is kind}
        stored = await owner_by_key(connection, table, mine)
        found |= {FactKey(partner_id, kind, id_): user for (partner_id, id_), user in stored.items()}
    return found


def _users_of(arrivals: Iterable[Arrival]) -> set[Key]:
    return {(each.fact.partner_id, each.fact.user_id) for each in arrivals}
