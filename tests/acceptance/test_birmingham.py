"""The purchase cards of the city of Birmingham, 2014 to 2018, against a plain count: 181,335 purchases, 1,523 cards."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.bank import Bank, open_bank
from tests.acceptance.birmingham import Line, as_csv, between, plain_lines, plain_rows
from tocsin.alerts.v1 import alert_pb2, fact_pb2
from tocsin_cli.importing.csv_file import Whose, read_csv
from tocsin_cli.importing.guessing import guess
from tocsin_cli.importing.identity import Repeats, bank_id, stable_id
from tocsin_cli.importing.mapping import read_hints
from tocsin_devstack.fixtures import MakeDatabase
from tocsin_kit.clock import SteppedClock
from tocsin_kit.messaging.streams import apply_to

OpenBank = Callable[[date], AbstractAsyncContextManager[Bank]]
#: How long the whole file may take (issue 3).
LONGEST_IMPORT = timedelta(seconds=60)
#: Five months of 21,790 purchases; from January 2017 on the file has columns that it had not before.
FIRST, LAST = date(2016, 11, 1), date(2017, 3, 31)
#: The five days with the most exact repeats.
REPEATED = (date(2017, 11, 15), date(2017, 11, 19))
#: What no bank should send, as lines of the file, and the column that is at fault.
BAD_LINES = (
    ("x.xls,2018-02-30,VR,,,12.00,GBP,,shop,************1111,,,,,,42", "TRANS DATE"),
    ("x.xls,,VR,,,12.00,GBP,,shop,************1111,,,,,,42", "TRANS DATE"),
    ("x.xls,2018-02-02,VR,,,twelve,GBP,,shop,************1111,,,,,,42", "BILLING GROSS AMT or ORIGINAL GROSS AMT"),
    ("x.xls,2018-02-02,VR,,,,GBP,,shop,************1111,,,,,,42", "BILLING GROSS AMT or ORIGINAL GROSS AMT"),
    ("x.xls,2018-02-02,VR,,,12.00,GBP,,shop,,,,,,,42", "CARD NUMBER"),
    ("x.xls,2018-02-02,VR,,,12.00,QQQ,,shop,************1111,,,,,,42", "currency"),
    ("Total,2018-02-02,12.00", ""),
)


def written(file: Path, content: bytes) -> Path:
    """A file with that content."""
    file.write_bytes(content)
    return file


def with_bad_lines(cards: Path, folder: Path) -> Path:
    """The file with the bad lines at its end."""
    more = "\n".join([line for line, _ in BAD_LINES])
    return written(folder / cards.name, cards.read_bytes() + gzip.compress(more.encode()))


@pytest.fixture
def cards(bank_data: Path) -> Path:
    """The file."""
    return bank_data / "birmingham_pcard" / "purchase_card_2014_2018.csv.gz"


@pytest.fixture
def open_at(make_database: MakeDatabase, broker_url: str, clock: SteppedClock, tmp_path: Path) -> OpenBank:
    """`async with open_at(day) as bank:` starts an evaluator at noon of that day."""

    @asynccontextmanager
    async def open_(day: date) -> AsyncIterator[Bank]:
        clock.move_to(_noon(day))
        await apply_to(broker_url)
        async with open_bank(await make_database("evaluator"), broker_url, clock, tmp_path) as bank:
            yield bank

    return open_


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def merchant(pattern: str, match: str, frequency: str = "IMMEDIATE") -> alert_pb2.Alert:
    """An alert on a merchant."""
    condition = alert_pb2.MerchantNameCondition(
        merchant_pattern=pattern,
        match_type=alert_pb2.MerchantMatch.Value(f"MERCHANT_MATCH_{match}"),
        frequency=alert_pb2.MerchantFrequency.Value(f"MERCHANT_FREQUENCY_{frequency}"),
    )
    return alert_pb2.Alert(merchant_name=condition)


def limit(amount: str, direction: str, currency: str = "GBP", account_id: int | None = None) -> alert_pb2.Alert:
    """An alert on large transactions."""
    condition = alert_pb2.TransactionLimitCondition(
        amount=amount,
        currency=currency,
        direction=alert_pb2.TransactionDirection.Value(f"TRANSACTION_DIRECTION_{direction}"),
        account_id=account_id,
    )
    return alert_pb2.Alert(transaction_limit=condition)


async def test_the_whole_file_is_imported_within_a_minute_and_fires_nothing(
    open_at: OpenBank, cards: Path, tmp_path: Path
) -> None:
    """It is history, and counted as that; each bad row among it is reported by its line and column, and no other."""
    file, lines = with_bad_lines(cards, tmp_path), plain_lines(plain_rows(cards))
    async with open_at(date(2018, 2, 28)) as bank:
        alerts = [await bank.wants(each, 1) for each in (merchant("Amazon", "CONTAINS"), limit("500", "DEBIT"))]
        clock = asyncio.get_running_loop().time
        begun = clock()
        done = await bank.imports(file, "--user", "1")
        took = timedelta(seconds=clock() - begun)
        assert done.status == 1, done.output
        assert "181,342 rows read, 181,335 accepted, 7 refused, 5,296 repeats" in done.output
        assert [await bank.looks(alert, 1) for alert in alerts] == [0, 0]
    assert [(int(row["line"]), row["field"]) for row in bank.refused(file)] == [
        (number, field) for number, (_, field) in enumerate(BAD_LINES, start=len(lines) + 2)
    ]
    [row] = await bank.asks("SELECT count(*) AS stored, -sum(amount) AS spent FROM transactions")
    assert (row["stored"], row["spent"]) == (len(lines), sum(line.amount for line in lines))
    assert await bank.asks("SELECT 1 FROM firings") == []
    counted = await bank.asks(
        "SELECT kind, sum(fired) AS fired, sum(backfill) AS backfill FROM evaluation_ledger GROUP BY 1"
    )
    assert {row["kind"]: (row["fired"], row["backfill"]) for row in counted} == {
        "merchant_name": (0, sum("amazon" in line.name for line in lines)),
        "transaction_limit": (0, sum(line.amount >= 500 for line in lines)),
    }
    assert took <= LONGEST_IMPORT, f"it took {took.total_seconds():.1f} s"


@dataclass(frozen=True)
class Wanted:
    """An alert of a directorate's, and the lines of which it must tell. `once_a_day`: only that there were some."""

    whose: str
    alert: alert_pb2.Alert
    matches: Callable[[Line], bool]
    once_a_day: bool = False

    def must_tell(self, lines: Iterable[Line]) -> Counter[object]:
        """What it must tell, and how often."""
        found = [line for line in lines if line.directorate == self.whose and self.matches(line)]
        if self.once_a_day:
            return Counter({f"1:day:{line.on}" for line in found})
        return Counter((f"{line.on}", line.merchant, -line.amount) for line in found)

    def tells(self, firing: asyncpg.Record) -> object:
        """What a firing tells, in the same words."""
        if self.once_a_day:
            return firing["occurrence_key"]
        said = json.loads(firing["context"])
        name = said["merchant"] if "merchant" in said else said["description"]
        return said["posted_on"], name, Decimal(said["amount"])


SCHOOLS, LOCAL, CORPORATE = "CYP&F SCHOOLS", "Local Services", "Corporate Resources"
CARD = "************6308"
WANTED = (
    Wanted(SCHOOLS, merchant("AMAZON UK  Marketplace", "EXACT"), lambda line: line.name == "amazon uk marketplace"),
    Wanted(SCHOOLS, merchant("amazon", "CONTAINS"), lambda line: "amazon" in line.name),
    Wanted(SCHOOLS, merchant("amazon", "EXACT"), lambda line: line.name == "amazon"),
    Wanted(SCHOOLS, merchant("asda", "CONTAINS", "FIRST_OF_DAY"), lambda line: "asda" in line.name, once_a_day=True),
    Wanted(SCHOOLS, merchant("tesco", "CONTAINS", "DAILY_DIGEST"), lambda line: "tesco" in line.name),
    Wanted(SCHOOLS, limit("500", "ANY"), lambda line: abs(line.amount) >= 500),
    Wanted(SCHOOLS, limit("100.00", "CREDIT"), lambda line: line.amount <= -100),
    Wanted(LOCAL, merchant(" Travelodge", "CONTAINS"), lambda line: "travelodge" in line.name),
    Wanted(
        LOCAL,
        merchant("post office counter", "EXACT", "FIRST_OF_DAY"),
        lambda line: line.name == "post office counter",
        once_a_day=True,
    ),
    Wanted(LOCAL, limit("49.99", "DEBIT"), lambda line: line.amount >= Decimal("49.99")),
    Wanted(LOCAL, limit("50", "DEBIT"), lambda line: line.amount >= 50),
    Wanted(LOCAL, limit("50", "DEBIT", currency="EUR"), lambda line: line.amount >= 50 and line.currency == "EUR"),
    Wanted(
        LOCAL,
        limit("20", "ANY", account_id=stable_id("account", CARD)),
        lambda line: line.card == CARD and abs(line.amount) >= 20,
    ),
    Wanted(CORPORATE, merchant("e", "CONTAINS"), lambda line: "e" in line.name),
    Wanted(CORPORATE, limit("0.01", "CREDIT"), lambda line: line.amount < 0),
)


async def test_five_months_posted_day_by_day_fire_what_a_plain_count_counts(
    open_at: OpenBank, cards: Path, clock: SteppedClock
) -> None:
    """Each alert tells of exactly the purchases that the count finds in the file, for three users in three zones."""
    rows = between(plain_rows(cards), FIRST, LAST)
    lines = plain_lines(rows)
    users = {name: bank_id(0, name) for name in (SCHOOLS, LOCAL, CORPORATE)}
    zones = zip(users.values(), ("Europe/London", "Pacific/Auckland", "America/Los_Angeles"), strict=True)
    async with open_at(FIRST) as bank:
        await bank.knows([fact_pb2.Profile(user_id=user, time_zone=zone, currency="GBP") for user, zone in zones])
        alerts = {await bank.wants(each.alert, users[each.whose]): each for each in WANTED}
        for day, posted in groupby(_as_imported(as_csv(rows)), key=lambda fact: fact.posted_on):
            clock.move_to(_noon(date.fromisoformat(day)))
            await bank.posts(list(posted))
        told: dict[int, Counter[object]] = {alert: Counter() for alert in alerts}
        for firing in await bank.asks("SELECT alert_id, occurrence_key, context FROM firings"):
            told[firing["alert_id"]][alerts[firing["alert_id"]].tells(firing)] += 1
    assert len(lines) > 20_000
    for alert, wanted in alerts.items():
        must = wanted.must_tell(lines)
        assert told[alert] - must == Counter(), f"{wanted.alert}: too many"
        assert must - told[alert] == Counter(), f"{wanted.alert}: too few"
    assert sum(not each for each in told.values()) == 2, "all but those on `amazon` alone and on EUR tell something"


def _as_imported(content: bytes) -> list[fact_pb2.Transaction]:
    """What `tocsin import --user-column Directorate` reads, oldest first."""
    mapping = guess(content, read_hints({"columns": {"user": ("Directorate",)}})).mapping
    read = read_csv(content, mapping, Whose(), Repeats.PURCHASES, lambda _: None)
    assert not read.refused
    return [row.fact for row in read.rows if isinstance(row.fact, fact_pb2.Transaction)]


@pytest.mark.parametrize("repeats", ["same", "purchases"])
async def test_exact_repeats_alert_as_often_as_the_importer_is_told_they_were_made(
    open_at: OpenBank, cards: Path, tmp_path: Path, repeats: str
) -> None:
    """Five days as news: rows that are alike are one purchase, or one each. Importing them again is no news."""
    rows = between(plain_rows(cards), *REPEATED)
    lines = plain_lines(rows)
    alike = {(line.on, line.amount, line.currency, line.merchant, line.card) for line in lines}
    assert len(lines) - len(alike) > 250
    bought = [each[1] for each in alike] if repeats == "same" else [line.amount for line in lines]
    file = written(tmp_path / "five-days.csv", as_csv(rows))
    async with open_at(REPEATED[1]) as bank:
        large = await bank.wants(limit("20", "DEBIT"), 1)
        for _ in range(2):
            done = await bank.imports(file, "--user", "1", "--live", "--repeats", repeats)
            assert done.status == 0, done.output
            assert f"{len(lines) - len(alike)} repeats" in done.output
            [row] = await bank.asks("SELECT count(*) AS n FROM firings WHERE alert_id = $1", large)
            assert row["n"] == sum(amount >= 20 for amount in bought)
