"""The first facts of a new installation, and what `tocsin up` prints: addresses, tokens, lines to paste."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
from rich.console import Console

from tocsin_devstack.wiring import Secrets
from tocsin_kit.rpc.caller import Scope

PARTNER, USER, ACCOUNT = 1, 1, 11
_TOKENS_LAST = timedelta(days=365)

FIRST_FACTS: tuple[tuple[str, dict[str, object]], ...] = (
    (
        "profiles",
        {
            "user_id": str(USER),
            "email": "pat@example.com",
            "phone": "+13125550100",
            "email_verified": True,
            "phone_verified": True,
            "locale": "en-US",
            "time_zone": "America/Chicago",
            "currency": "USD",
        },
    ),
    (
        "accounts",
        {"id": str(ACCOUNT), "user_id": str(USER), "name": "Checking", "balance": "2500.00", "currency": "USD"},
    ),
)


class FirstFactsRefused(Exception):
    """The gateway did not take the first facts; the message holds its answer."""


@dataclass(frozen=True)
class Tokens:
    """Ready-made tokens of the first user, the bank and an operator."""

    user: str
    service: str
    admin: str

    @classmethod
    def by(cls, secrets: Secrets, now: datetime) -> "Tokens":
        """Valid for a year."""
        expires_at = now + _TOKENS_LAST
        return cls(
            user=secrets.user_token(USER, PARTNER, expires_at),
            service=secrets.partner_token(PARTNER, Scope.SERVICE, expires_at),
            admin=secrets.admin_token(expires_at),
        )


async def post_first_facts(url: str, service_token: str) -> None:
    """Partner 1's user 1, in Chicago, e-mail and phone verified, and a checking account. Raises FirstFactsRefused."""
    headers = {"Authorization": f"Bearer {service_token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for kind, fact in FIRST_FACTS:
            async with session.post(f"{url}/api/v2/ingest/{kind}", json={kind: [fact]}) as answer:
                text = await answer.text()
                if answer.status != 200 or '"rejected":[{' in text.replace(" ", ""):
                    raise FirstFactsRefused(f"{kind}: {answer.status} {text}")


def curl_lines(url: str, tokens: Tokens) -> tuple[tuple[str, str], ...]:
    """(what it does, the line): a user's alert, a bank's transaction that meets it, the user's inbox."""
    json_header = "-H 'Content-Type: application/json'"
    user = f"-H 'Authorization: Bearer {tokens.user}'"
    bank = f"-H 'Authorization: Bearer {tokens.service}'"
    alert = '{"transaction_limit": {"amount": "100.00", "currency": "USD"}, "sms_delivery": true}'
    # the shell puts in an id and the time, so that pasting it again posts another transaction
    transaction = (
        f'{{"transactions": [{{"id": "\'$(date +%s)\'", "user_id": "{USER}", "account_id": "{ACCOUNT}", '
        '"amount": "-250.00", "currency": "USD", "merchant": "Bike Shop", "posted_at": "\'$(date -u +%FT%TZ)\'"}]}'
    )
    return (
        ("create an alert", f"curl -s -X POST {url}/api/v2/alerts {user} {json_header} -d '{alert}'"),
        (
            "post a transaction",
            f"curl -s -X POST {url}/api/v2/ingest/transactions {bank} {json_header} -d '{transaction}'",
        ),
        ("read the inbox", f"curl -s {url}/api/v2/notifications {user}"),
    )


def say_welcome(console: Console, url: str, addresses: Mapping[str, str], tokens: Tokens, home: Path) -> None:
    """Print it all. Lines are never wrapped by us, so that they can be pasted whole."""
    console.print(f"\n[bold green]Tocsin is up[/] at [bold]{url}[/]  (Ctrl-C stops everything)\n")
    for name, address in addresses.items():
        console.print(f"  {name:<12} {address}", soft_wrap=True, highlight=False)
    console.print(f"  {'data, logs':<12} {home}", soft_wrap=True, highlight=False)
    for name, token in (("user", tokens.user), ("service", tokens.service), ("admin", tokens.admin)):
        console.print(f"\n[bold]{name} token[/]")
        console.print(token, soft_wrap=True, highlight=False, markup=False)
    for title, line in curl_lines(url, tokens):
        console.print(f"\n[bold]# {title}[/]")
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print()
