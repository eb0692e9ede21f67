"""A test as a timetable: at such a local time this happens, and the user gets that and nothing else.

    async with timetable("2025-11-03 09:00", "America/Chicago") as day:
        await day.alert(account_threshold={"account_id": "1", "threshold": "500.00", ...}, sms_delivery=True)
        await day.at("09:05", day.account(balance="480.00"))
        await day.want("email: Low balance: Checking", "inbox: Low balance: Checking")

`at` fails when anything came before that nobody wanted, to this user or to anybody else; so does the end of the
timetable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tocsin_devstack.faults import Provider, Receiver
from tocsin_devstack.reading import Databases
from tocsin_devstack.server import Accepted
from tocsin_devstack.stack import Answer, Stack

EMAIL, PHONE = "pat@example.com", "+13125550142"
USER, ACCOUNT, PARTNER = 1, 11, 1
_OTHERS = """
    SELECT partner_id, user_id, title FROM notifications
    WHERE (partner_id, user_id) <> ($1, $2) AND deleted_at IS NULL
"""


@dataclass(frozen=True)
class Fact:
    """Something to post: the path behind /api/v2/ingest/ and the item."""

    kind: str
    item: dict[str, Any]
    backfill: bool = False


@dataclass
class Timetable:
    """One user's days. Local times are wall times of `zone`; one without a date is on the day reached last."""

    stack: Stack
    databases: Databases
    zone: str
    _seen: Counter[str] = field(default_factory=Counter)
    _transactions: int = 1000
    _asks: bool = True

    @property
    def now(self) -> datetime:
        """The clock's local time."""
        return self.stack.clock.now().astimezone(ZoneInfo(self.zone))

    def instant(self, when: str) -> datetime:
        """The instant that `when` ("09:05" or "2025-11-03 09:05") names."""
        text = when if " " in when else f"{self.now:%Y-%m-%d} {when}"
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(self.zone))

    async def begin(self) -> None:
        """The person, verified by their bank, and an account with plenty of money; sweeps and bills every hour."""
        for name in ("evaluate-periodic", "evaluate-bills", "evaluate-audit", "dispatch-audit", "gateway-audit"):
            cron = "0 4 * * *" if name.endswith("audit") else "0 * * * *"
            await self.must("PATCH", f"/api/v2/admin/schedules/{name}", {"cron": cron}, self.stack.admin_token())
        await self.post(self.profile(), self.account("2000.00"))

    async def must(self, method: str, path: str, body: object = None, token: str | None = None) -> Any:
        """Call the gateway as the user (or with `token`); the body of what must be a success."""
        answer = await self.ask(method, path, body, token)
        assert answer.status < 300, f"{method} {path} {body}: {answer.status} {answer.body}"
        return answer.body

    async def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> Answer:
        """Call the gateway as the user (or with `token`)."""
        return await self.stack.rest(method, path, token=token or self.stack.user_token(USER), body=body)

    async def alert(self, **body: Any) -> str:
        """Create an alert; its id."""
        created = await self.must("POST", "/api/v2/alerts", body)
        await self.stack.settle()
        return str(created["id"])

    async def at(self, when: str, *facts: Fact) -> None:
        """Go on to `when`, at which nobody may have got anything unwanted, and post the facts."""
        await self.want()
        await self.stack.move_to(self.instant(when))
        if facts:
            await self.want()
            await self.post(*facts)

    async def post(self, *facts: Fact) -> None:
        """Post facts now, as the bank; all must be accepted."""
        for fact in facts:
            item = fact.item
            if fact.kind == "transactions" and not {"posted_at", "posted_on"} & item.keys():
                item = {**item, "posted_at": self.stack.clock.now().isoformat().replace("+00:00", "Z")}
            body = {fact.kind: [item], "backfill": True} if fact.backfill else {fact.kind: [item]}
            answer = await self.must("POST", f"/api/v2/ingest/{fact.kind}", body, self.stack.service_token(PARTNER))
            assert not answer.get("rejected"), answer
        await self.stack.settle()

    async def want(self, *lines: str) -> None:
        """Exactly these messages have come since the last time: `email: subject`, `sms: text`, `inbox: title`, `push to
        laptop: title`, `webhook to shop: title`.

        What came to anybody else says so: `email to a@example.com: subject`, `inbox of user 2 of partner 1: title`.
        """
        await self.stack.settle()
        if not self._asks:
            return
        came = Counter(await self._came())
        news = came - self._seen
        self._seen = came
        wanted = Counter(lines)
        assert news == wanted, (
            f"at {self.now:%Y-%m-%d %H:%M} wanted {sorted(wanted.elements())}, got {sorted(news.elements())}"
        )

    def forgive(self) -> None:
        """Ask for nothing at the end: the test has looked at what came itself."""
        self._asks = False

    async def inbox(self) -> list[dict[str, Any]]:
        """The user's notifications, newest first."""
        page = await self.must("GET", "/api/v2/notifications?page_size=200")
        notifications: list[dict[str, Any]] = page["notifications"]
        return notifications

    async def _came(self) -> Iterable[str]:
        simulators = (self.stack.sendgrid, self.stack.smtp, self.stack.twilio, self.stack.push, self.stack.webhooks)
        accounts = [simulator.account for simulator in simulators]
        messages = [_line(message) for account in accounts for message in account.accepted]
        others = await self.databases.of["dispatcher"].fetch(_OTHERS, PARTNER, USER)
        inboxes = [f"inbox of user {user} of partner {partner}: {title}" for partner, user, title in others]
        return [*messages, *(f"inbox: {one['title']}" for one in await self.inbox()), *inboxes]

    def profile(self, **changes: Any) -> Fact:
        """The person."""
        person = {
            "user_id": str(USER),
            "email": EMAIL,
            "phone": PHONE,
            "email_verified": True,
            "phone_verified": True,
            "locale": "en-US",
            "time_zone": self.zone,
            "currency": "USD",
        }
        return Fact("profiles", person | changes)

    def account(self, balance: str, **changes: Any) -> Fact:
        """The checking account with a balance."""
        account = {
            "id": str(ACCOUNT),
            "user_id": str(USER),
            "name": "Checking",
            "balance": balance,
            "currency": "USD",
        }
        return Fact("accounts", account | changes)

    def purchase(self, amount: str, merchant: str = "Corner Market", *, backfill: bool = False, **changes: Any) -> Fact:
        """A card purchase at the time it is posted; `amount` is what it cost. Its id is its own unless `id` says so."""
        self._transactions += 1
        transaction = {
            "id": str(self._transactions),
            "user_id": str(USER),
            "account_id": str(ACCOUNT),
            "amount": f"-{amount}" if not amount.startswith("-") else amount.removeprefix("-"),
            "currency": "USD",
            "merchant": merchant,
        }
        return Fact("transactions", transaction | changes, backfill)

    def goal(self, current: str, target: str = "1000.00", **changes: Any) -> Fact:
        """The savings goal."""
        goal = {
            "id": "21",
            "user_id": str(USER),
            "name": "Holiday",
            "currency": "USD",
            "current_amount": current,
            "target_amount": target,
        }
        return Fact("goals", goal | changes)

    def budget(self, spent: str, amount: str = "400.00", **changes: Any) -> Fact:
        """The monthly grocery budget, its spending reported by the bank."""
        budget = {
            "id": "31",
            "user_id": str(USER),
            "name": "Groceries",
            "currency": "USD",
            "amount": amount,
            "period": "monthly",
            "spent": spent,
        }
        return Fact("budgets", budget | changes)

    def bill(self, due_date: str, **changes: Any) -> Fact:
        """The rent."""
        bill = {
            "id": "41",
            "user_id": str(USER),
            "name": "Rent",
            "currency": "USD",
            "amount": "1494.00",
            "due_date": due_date,
        }
        return Fact("bills", bill | changes)

    async def wait(self, span: timedelta) -> None:
        """Let time pass, nobody getting anything unwanted."""
        await self.want()
        await self.stack.move_to(self.stack.clock.now() + span)


def _line(message: Accepted) -> str:
    """What a provider took, as `want` names it."""
    if message.provider is Receiver.WEBPUSH:
        return f"push to {message.recipient}: {message.subject}"
    if message.provider is Receiver.WEBHOOK:
        return f"webhook to {message.recipient}: {message.subject}"
    is_email = message.provider in (Provider.SENDGRID, Receiver.SMTP)
    medium, words = ("email", message.subject) if is_email else ("sms", message.text)
    is_ours = message.recipient in (EMAIL, PHONE)
    return f"{medium}: {words}" if is_ours else f"{medium} to {message.recipient}: {words}"
