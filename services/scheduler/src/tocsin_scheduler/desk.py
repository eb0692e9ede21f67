"""What operators ask of jobs: trigger one, run a schedule's now, retry, cancel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.idempotency import IdempotencyConflict, RequestKey
from tocsin_kit.rpc.errors import Reason, TocsinError, invalid_field, not_found, state_conflict
from tocsin_kit.telemetry.propagation import traceparent_of
from tocsin_scheduler.jobs import SILENCE, VERBS, Job, JobState, WorkClass, attempts_of, cancelled, queued_again
from tocsin_scheduler.measuring import JobMeter
from tocsin_scheduler.orders import Orders
from tocsin_scheduler.store import jobs as job_rows
from tocsin_scheduler.store import requests
from tocsin_scheduler.store import schedules as schedule_rows

EVALUATE_USER = "evaluate.user"
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Once:
    """The caller's own id of a request and a hash of what is asked: the same again has no second effect."""

    key: RequestKey
    request_hash: bytes


@dataclass(frozen=True)
class Found:
    """A job, and whether it was made just now."""

    job: Job
    is_new: bool


class Desk:
    """Does what operators ask of jobs. Rings `overseer` and `ticker` behind it: jobs have changed, and what was locked
    here they have passed over."""

    def __init__(
        self,
        engine: AsyncEngine,
        orders: Orders,
        meter: JobMeter,
        *,
        clock: Clock,
        ids: Ids,
        attempts: int | None,
        overseer: Bell,
        ticker: Bell,
    ) -> None:
        self._engine, self._orders, self._meter, self._clock, self._ids = engine, orders, meter, clock, ids
        self._attempts, self._overseer, self._ticker = attempts, overseer, ticker

    async def trigger(self, type_: str, user_id: int, partner_id: int, once: Once | None) -> Job:
        """Queue a job now, of a user where one is named (ids from 1; 0 for none). Raises invalid_field."""
        wanted = type_ or (EVALUATE_USER if user_id else "")
        _check_trigger(wanted, user_id, partner_id)
        args = {"user_id": str(user_id), "partner_id": str(partner_id)} if user_id else {}

        async def make(connection: AsyncConnection, now: datetime) -> Found:
            # Work that a schedule makes keeps the schedule's lane, and with it its deadline.
            lane = await schedule_rows.class_of(connection, wanted)
            return await self._add(connection, self._job(wanted, args, lane or WorkClass.USER, now), now)

        return await self._once(make, once)

    async def run(self, name: str, once: Once | None) -> Job:
        """Make a schedule's job now; the one under way where there is one. Raises not_found."""

        async def make(connection: AsyncConnection, now: datetime) -> Found:
            schedule = await schedule_rows.lock(connection, name)
            if schedule is None:
                raise not_found("schedule")
            under_way = await job_rows.under_way(connection, schedule.name, schedule.args)
            if under_way is not None:
                return Found(under_way, is_new=False)
            job = self._job(schedule.type, schedule.args, schedule.work_class, now)
            return await self._add(connection, replace(job, schedule=schedule.name), now)

        return await self._once(make, once)

    async def retry(self, job_id: UUID) -> Job:
        """Queue a dead job again, with as many attempts as a new one has. Raises not_found, state_conflict."""

        async def again(connection: AsyncConnection) -> Job:
            now = self._clock.now()
            schedule = (await _found(connection, job_id)).schedule
            if schedule is not None:
                await schedule_rows.lock(connection, schedule)  # no tick makes a job of it meanwhile
            job = await _locked(connection, job_id)
            if job.state is not JobState.DEAD:
                raise state_conflict(f"the job is {job.state}; only a dead one can be retried")
            if job.schedule is not None and await job_rows.under_way(connection, job.schedule, job.args):
                raise state_conflict("a newer job of its schedule is under way")
            fresh = queued_again(job, now, job.attempt + attempts_of(job.work_class, self._attempts))
            await job_rows.save(connection, [fresh])
            await self._orders.hand_out(connection, [fresh], now)
            return fresh

        job = await self._alone(again)
        self._orders.handed_out([job])
        return job

    async def cancel(self, job_id: UUID) -> Job:
        """Cancel a job that nobody is going to do: it waits for its next attempt, or in our own outbox.

        What a worker may know of cannot be stopped. Raises not_found, state_conflict.
        """

        async def stop(connection: AsyncConnection) -> tuple[bool, Job]:
            job = await _locked(connection, job_id)
            if job.state not in {JobState.QUEUED, JobState.RETRYING}:
                raise state_conflict(f"the job is {job.state}; only one that has not begun can be cancelled")
            is_queued = job.state is JobState.QUEUED
            if is_queued and not await self._orders.take_back(connection, job):
                raise state_conflict("the job was handed out already: a worker may have begun")
            stopped = cancelled(job, self._clock.now())
            await job_rows.save(connection, [stopped])
            return is_queued, stopped

        was_queued, job = await self._alone(stop)
        if was_queued:
            self._orders.taken_back()
        self._meter.ended([job])
        return job

    async def _alone(self, work: Callable[[AsyncConnection], Awaitable[Answer]]) -> Answer:
        """Run `work`, which locks what it changes, in a transaction; whoever passed that over looks again behind it."""
        try:
            return await in_transaction(self._engine, work)
        finally:
            self._overseer.set()
            self._ticker.set()

    async def _once(self, make: Callable[[AsyncConnection, datetime], Awaitable[Found]], once: Once | None) -> Job:
        """The job that `make` answers; of a request that came before, the job it got then."""
        found = await self._alone(lambda connection: self._find(connection, make, once))
        if found.is_new:
            self._orders.handed_out([found.job])
        return found.job

    async def _find(
        self,
        connection: AsyncConnection,
        make: Callable[[AsyncConnection, datetime], Awaitable[Found]],
        once: Once | None,
    ) -> Found:
        now = self._clock.now()
        if once is None:
            return await make(connection, now)
        made: list[Found] = []

        async def answer() -> bytes:
            made.append(await make(connection, now))
            return made[0].job.id.bytes

        try:
            job_id = await requests.remember(connection, once.key, once.request_hash, now, answer)
        except IdempotencyConflict as conflict:
            raise TocsinError(str(conflict), Reason.IDEMPOTENCY_CONFLICT) from conflict
        return made[0] if made else Found(await _found(connection, UUID(bytes=job_id)), is_new=False)

    async def _add(self, connection: AsyncConnection, job: Job, now: datetime) -> Found:
        if not await job_rows.add(connection, [job]):
            raise state_conflict("a job of its schedule is under way")
        await self._orders.hand_out(connection, [job], now)
        return Found(job, is_new=True)

    def _job(self, type_: str, args: Mapping[str, str], work_class: WorkClass, now: datetime) -> Job:
        return Job(
            id=self._ids.uuid7(),
            type=type_,
            args=args,
            work_class=work_class,
            state=JobState.QUEUED,
            attempt=1,
            max_attempts=attempts_of(work_class, self._attempts),
            due_at=now,
            created_at=now,
            deadline_at=now + SILENCE[work_class],
            traceparent=traceparent_of(),
        )


def _check_trigger(type_: str, user_id: int, partner_id: int) -> None:
    if not type_:
        raise invalid_field("type", "is required where no user is named")
    if type_.partition(".")[0] not in VERBS:
        raise invalid_field("type", "begins with " + ", ".join(sorted(VERBS)))
    if user_id and type_ != EVALUATE_USER:
        raise invalid_field("user_id", f"goes with {EVALUATE_USER} only")
    if type_ == EVALUATE_USER and not user_id:
        raise invalid_field("user_id", "is required")
    if bool(user_id) != bool(partner_id):
        raise invalid_field("partner_id", "names the user's bank: both or neither")


async def _found(connection: AsyncConnection, job_id: UUID) -> Job:
    job = await job_rows.get(connection, job_id)
    if job is None:
        raise not_found("job")
    return job


async def _locked(connection: AsyncConnection, job_id: UUID) -> Job:
    found = await job_rows.lock(connection, {job_id})
    if not found:
        raise not_found("job")
    return found[0]
