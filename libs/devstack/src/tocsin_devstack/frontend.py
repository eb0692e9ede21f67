"""What people and operators ask for over REST: alerts, quiet hours, the schedules' times."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal

import aiohttp

from tocsin_devstack.scenario import Condition, Profile, Wish
from tocsin_kit.money import amount_text

JsonObject = Mapping[str, object]


class RequestRefused(Exception):
    """The gateway answered otherwise than hoped; the message holds its answer."""


class Frontend:
    """Calls the gateway at `url`. `tokens` are the people's by user id, `admin_token` an operator's."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tokens: Mapping[int, str], admin_token: str) -> None:
        self._session, self._url = session, url
        self._tokens, self._admin_token = tokens, admin_token

    async def create_alert(self, wish: Wish) -> None:
        """Create the alert a person wishes for. Raises RequestRefused."""
        await self._ask("POST", "/api/v2/alerts", self._tokens[wish.user_id], alert_body(wish), 201)

    async def set_quiet_hours(self, person: Profile) -> None:
        """Switch a person's quiet hours on, if they want some. Raises RequestRefused."""
        if person.quiet_hours is not None:
            start, end = (f"{wall:%H:%M}" for wall in person.quiet_hours)
            body = {"quiet_hours": {"enabled": True, "start": start, "end": end}}
            await self._ask("PATCH", "/api/v2/preferences", self._tokens[person.user_id], body, 200)

    async def set_cron(self, schedule: str, cron: str) -> None:
        """Change when a schedule runs. Raises RequestRefused."""
        await self._ask("PATCH", f"/api/v2/admin/schedules/{schedule}", self._admin_token, {"cron": cron}, 200)

    async def _ask(self, method: str, path: str, token: str, body: JsonObject, wanted: int) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
            if answer.status != wanted:
                raise RequestRefused(f"{method} {path} {json.dumps(body)}: {answer.status} {await answer.text()}")


def alert_body(wish: Wish) -> JsonObject:
    """The body of POST /api/v2/alerts for a wish."""
    body = {"name": wish.name, wish.kind.value: _condition(wish.condition), "sms_delivery": wish.sms}
    return body if wish.cooldown is None else {**body, "cooldown": _seconds(wish.cooldown)}


def _condition(condition: Condition) -> JsonObject:
    """A condition's fields are named as the contract's; int64 and money are text in JSON."""
    return {name: _json(name, value) for name, value in asdict(condition).items()}


def _json(name: str, value: object) -> object:
    if isinstance(value, Decimal):
        return amount_text(value)
    return str(value) if name.endswith("_id") else value


def _seconds(span: timedelta) -> str:
    """A duration as protobuf's JSON writes it."""
    return f"{int(span.total_seconds())}s"
