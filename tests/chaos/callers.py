"""Those who call the gateway: the bank, people, operators. Each repeats a call until it is answered well."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import aiohttp

from tests.chaos.rest import INGEST, requests_for
from tests.chaos.waiting import until
from tocsin_devstack.frontend import alert_body
from tocsin_devstack.scenario import PARTNER_ID, Fact, Wish
from tocsin_devstack.wiring import Secrets
from tocsin_kit.rpc.caller import Scope

_AGAIN_AFTER = timedelta(milliseconds=500)
_NEVER = datetime(2200, 1, 1, tzinfo=UTC)


class Callers:
    """They call the gateway at `url`. `waiting` has the paths of the calls that have no good answer yet."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secrets: Secrets) -> None:
        self._session, self._url, self._secrets = session, url, secrets
        self.bank = secrets.partner_token(PARTNER_ID, Scope.SERVICE, _NEVER)
        self.operator = secrets.admin_token(_NEVER)
        self._keys = count(1)
        self.waiting: Counter[str] = Counter()
        self.in_vain = 0
        """How many calls got no answer, or one that they cannot be served now."""

    def person(self, user_id: int) -> str:
        """A person's token."""
        return self._secrets.user_token(user_id, PARTNER_ID, _NEVER)

    @property
    def posts_waiting(self) -> int:
        """How many of the bank's posts have no good answer yet."""
        return sum(many for path, many in self.waiting.items() if path.startswith(INGEST))

    async def post(self, facts: Iterable[Fact], *, backfill: bool = False) -> None:
        """Facts as the bank posts them, in their order; none may be refused."""
        for path, body in requests_for(facts, backfill=backfill):
            answer = await self.call("POST", path, self.bank, body)
            assert not answer.get("rejected"), answer

    async def create_alert(self, wish: Wish) -> None:
        """What a person asks for."""
        await self.call("POST", "/api/v2/alerts", self.person(wish.user_id), alert_body(wish))

    async def set_cron(self, schedule: str, cron: str) -> None:
        """When a schedule is due."""
        await self.call("PATCH", f"/api/v2/admin/schedules/{schedule}", self.operator, {"cron": cron})

    async def close_breakers(self, providers: Collection[str]) -> None:
        """Close the circuit breakers of these providers, and forget what they have counted."""
        path = "/api/v2/admin/circuit-breakers"
        listed = await self.call("GET", f"{path}?page_size=200", self.operator)
        for breaker in listed.get("circuit_breakers", ()):
            if breaker["provider"] in providers:
                await self.call("POST", f"{path}/{breaker['id']}:reset", self.operator, {})

    async def run_schedule(self, schedule: str) -> str:
        """Have a schedule's job done now; the job's id."""
        answer = await self.call("POST", f"/api/v2/admin/schedules/{schedule}:run", self.operator, {})
        return str(answer["id"])

    async def evaluate_user(self, user_id: int) -> str:
        """Have everything of a person evaluated by a job; the job's id."""
        body = {"type": "evaluate.user", "user_id": str(user_id), "partner_id": str(PARTNER_ID)}
        return str((await self.call("POST", "/api/v2/admin/jobs/trigger", self.operator, body))["id"])

    async def call(self, method: str, path: str, token: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What is answered; called with one key again and again, for it may have been done already."""
        key = f"call {next(self._keys)}"
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        good: dict[str, Any] = {}

        async def answered() -> object:
            try:
                async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
                    if answer.status < 300:
                        good.update(await answer.json())
                        return True
                    self.in_vain += answer.status >= 500
                    return f"{answer.status} {await answer.text()}"
            except (aiohttp.ClientError, TimeoutError) as error:
                self.in_vain += 1
                return repr(error)

        self.waiting[path] += 1
        await until(f"{method} {path}", answered, every=_AGAIN_AFTER)
        self.waiting[path] -= 1
        return good
