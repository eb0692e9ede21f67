"""`tocsin import` against a service on real gRPC: what it asks, sends, remembers and reports."""

from __future__ import annotations

import asyncio
import csv
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing import batches, sending
from tocsin_kit.backoff import Backoff
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import Reason, TocsinError, unavailable

from .conftest import BANK_KEY, Services, serving

Run = Callable[..., Any]
#: The files are too short for their amounts to tell which sign is money out.
OWN = ("--user", "1", "--account", "11", "--sign", "account")
HEAD = "Date,Description,Amount\n"
THREE = HEAD + "2025-11-03,A,-1.00\n2025-11-04,B,-2.00\n2025-11-05,C,3.00\n"


@pytest.fixture
def bank_csv(tmp_path: Path) -> Callable[[str], str]:
    """Writes a file and answers its name."""

    def write(text: str, name: str = "bank.csv") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(sending, "PATIENCE", Backoff(timedelta(milliseconds=1), 1.0, 4, timedelta(milliseconds=1)))


def sent(services: Services) -> list[str]:
    """The descriptions of the transactions that were sent, in the order of their calls."""
    requests = [each for each in services.asked if isinstance(each, fact_pb2.PostTransactionsRequest)]
    return [each.description for request in requests for each in request.transactions]


def many(count: int) -> str:
    """A file of as many rows."""
    return HEAD + "".join(f"2025-11-{1 + number // 60:02},row {number},-1.00\n" for number in range(count))


def test_the_guess_is_shown_and_a_no_sends_nothing(bank: Run, services: Services, bank_csv: Run) -> None:
    result = bank("import", bank_csv(THREE), *OWN, typed="n\n")
    assert result.exit_code == 1
    for text in ("Description", "%Y-%m-%d", "money out is negative", "2025-11-03  -1.00", "Go on?"):
        assert text in result.stdout
    assert services.asked == []


def test_a_yes_posts_it_as_the_banks_history(bank: Run, services: Services, bank_csv: Run, tmp_path: Path) -> None:
    result = bank("import", bank_csv(THREE), *OWN, typed="y\n")
    assert result.exit_code == 0, result.output
    [request] = services.asked
    assert request.backfill
    assert [(each.posted_on, each.amount, each.account_id) for each in request.transactions] == [
        ("2025-11-03", "-1.00", 11),
        ("2025-11-04", "-2.00", 11),
        ("2025-11-05", "3.00", 11),
    ]
    assert services.callers[0].partner_id == 7
    assert services.callers[0].scopes == {Scope.SERVICE}
    assert "3 rows read, 3 accepted, 0 refused, 0 repeats" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["bank.csv"], "no state and no report is left"


def test_live_posts_it_as_news(bank: Run, services: Services, bank_csv: Run) -> None:
    assert bank("import", bank_csv(THREE), *OWN, "--yes", "--live").exit_code == 0
    assert not services.asked[0].backfill


def test_a_balance_opens_the_account_before_its_transactions(bank: Run, services: Services, bank_csv: Run) -> None:
    text = "Date,Description,Amount,Balance\n2025-11-03,A,-1.00,9.00\n"
    result = bank("import", bank_csv(text), *OWN, "--account-name", "Checking", "--yes")
    assert result.exit_code == 0, result.output
    accounts, transactions = services.asked
    assert [(each.name, each.balance) for each in accounts.accounts] == [("Checking", "10.00")]
    assert transactions.transactions[0].balance_after == "9.00"
    assert "1 rows read, 1 accepted" in result.stdout, "the account is no row of the file"


def test_what_the_file_and_the_service_refuse_is_reported_by_line(
    bank: Run, services: Services, bank_csv: Run, tmp_path: Path
) -> None:
    rejection = fact_pb2.Rejection(index=1, field="merchant", message="is not [liked]")
    services.answers["PostTransactions"] = fact_pb2.PostTransactionsResponse(
        accepted=2, rejected=[rejection], unknown_people=[1]
    )
    result = bank("import", bank_csv(THREE + "2025-11-06,D,much\n"), *OWN, "--yes")
    assert result.exit_code == 1
    assert "4 rows read, 2 accepted, 2 refused" in result.stdout
    assert "is not [liked]" in result.stdout
    assert "no profile is known of user 1" in result.stdout
    report = tmp_path / "bank.csv.refused.csv"
    with report.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["line", "field", "value", "why"]
    assert [row[:3] for row in rows] == [["3", "merchant", "B"], ["5", "Amount", "much"]]
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_a_later_run_without_refusals_empties_the_report(bank: Run, bank_csv: Run, tmp_path: Path) -> None:
    assert bank("import", bank_csv(THREE + ",,\nbad,D,1.00\n"), *OWN, "--yes").exit_code == 1
    assert bank("import", bank_csv(THREE), *OWN, "--yes").exit_code == 0
    assert (tmp_path / "bank.csv.refused.csv").read_text().splitlines() == ["line,field,value,why"]


def test_only_the_first_refusals_are_shown_and_all_are_written(bank: Run, bank_csv: Run, tmp_path: Path) -> None:
    bad = "".join(f"2025-02-30,bad {number},-1.00\n" for number in range(25))
    result = bank("import", bank_csv(many(60) + bad), *OWN, "--yes", "--report", "all.csv")
    assert "and 5 more" in result.stdout
    assert result.stdout.count("2025-02-30") == 20
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 26


def test_strict_sends_nothing_when_a_row_is_refused(bank: Run, services: Services, bank_csv: Run) -> None:
    good, bad = bank_csv(THREE, "good.csv"), bank_csv(THREE + "soon,D,1.00\n", "bad.csv")
    result = bank("import", good, bad, *OWN, "--yes", "--strict")
    assert result.exit_code == 1
    assert "nothing was sent" in result.stderr
    assert "soon" in result.stdout
    assert services.asked == []
    assert bank("import", good, *OWN, "--yes", "--strict").exit_code == 0


def test_checking_reads_everything_and_needs_no_token(tocsin: Run, bank_csv: Run) -> None:
    result = tocsin("import", bank_csv(THREE), *OWN, "--yes", "--check")
    assert (result.exit_code, "3 rows read, 3 good" in result.stdout) == (0, True)
    assert tocsin("import", bank_csv(THREE), *OWN, "--yes").exit_code == 2


def test_one_file_that_cannot_be_read_holds_all_back(bank: Run, services: Services, bank_csv: Run) -> None:
    result = bank("import", bank_csv(THREE), bank_csv("a,b\n1,2\n", "odd.csv"), *OWN, "--yes")
    assert result.exit_code == 2
    assert "odd.csv: no row heads a date and an amount" in result.stderr
    assert services.asked == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "say whose rows these are: --user N, or --user-column NAME"),
        (("--user", "1"), "say which account these rows are of: --account N, or --column account=NAME"),
        ((*OWN, "--column", "date=When"), "no row heads"),
        ((*OWN, "--column", "colour=When"), "WHAT=NAME"),
        ((*OWN, "--date-format", "%d"), "does not tell year"),
        ((*OWN, "--user-column", "Who"), "either --user or --user-column"),
        ((*OWN, "--format", "facts"), "4 refused"),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_is_sent(
    bank: Run, services: Services, bank_csv: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    result = bank("import", bank_csv(THREE), *arguments, "--yes")
    assert result.exit_code in (1, 2)
    assert complaint in " ".join(result.output.replace("│", " ").split())
    assert services.asked == []


def test_a_doubtful_guess_is_not_gone_on_with_unasked(bank: Run, services: Services, bank_csv: Run) -> None:
    name = bank_csv(HEAD + "01/02/2025,A,-1.00\n02/03/2025,B,1.00\n")
    refused = bank("import", name, *OWN, "--yes")
    assert (refused.exit_code, services.asked) == (2, [])
    assert "--date-format" in refused.stdout
    assert bank("import", name, *OWN, "--yes", "--date-format", "%d/%m/%Y").exit_code == 0
    assert [each.posted_on for each in services.asked[0].transactions] == ["2025-02-01", "2025-03-02"]


def test_a_guess_is_written_edited_and_read_by(bank: Run, services: Services, bank_csv: Run, tmp_path: Path) -> None:
    name = bank_csv(THREE)
    shown = bank("import", name, "--show-mapping")
    assert (shown.exit_code, services.asked) == (0, [])
    (tmp_path / "bank.toml").write_text(shown.stdout.replace('sign = "account" ', 'sign = "reversed"'))
    whose = ("--user", "1", "--account", "11")
    assert bank("import", name, *whose, "--mapping", "bank.toml").exit_code == 0, "a mapping is not asked about"
    assert bank("import", name, *whose, "--mapping", "bank.toml", "--sign", "account").exit_code == 0
    amounts = [[each.amount for each in request.transactions] for request in services.asked]
    assert amounts == [["1.00", "2.00", "-3.00"], ["-1.00", "-2.00", "3.00"]]


def test_exact_repeats_are_sent_once_when_that_is_said(bank: Run, services: Services, bank_csv: Run) -> None:
    name = bank_csv(THREE + "2025-11-05,C,3.00\n")
    assert "1 repeats (each a purchase of its own)" in bank("import", name, *OWN, "--yes").stdout
    result = bank("import", name, *OWN, "--yes", "--repeats", "same")
    assert "4 rows read, 3 accepted, 0 refused, 1 repeats (taken as one with the first)" in result.stdout
    both, once = services.asked
    assert [each.id for each in both.transactions][:3] == [each.id for each in once.transactions]
    assert len({each.id for each in both.transactions}) == 4


def test_a_service_that_is_away_for_a_moment_is_asked_again(bank: Run, services: Services, bank_csv: Run) -> None:
    answers = [unavailable("starting"), unavailable("starting"), fact_pb2.PostTransactionsResponse(accepted=3)]
    services.answers["PostTransactions"] = lambda _: answers.pop(0)
    assert bank("import", bank_csv(THREE), *OWN, "--yes").exit_code == 0
    assert len(services.asked) == 3


def test_what_trying_again_cannot_mend_is_tried_once(bank: Run, services: Services, bank_csv: Run) -> None:
    services.answers["PostTransactions"] = TocsinError("no", Reason.SCOPE_MISSING)
    result = bank("import", bank_csv(THREE), *OWN, "--yes")
    assert (result.exit_code, len(services.asked)) == (1, 1)
    assert "scope_missing: no" in result.stderr
    assert "3 not sent" in result.stdout


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a call."""
    monkeypatch.setattr(batches, "MOST_ROWS", 2)


@pytest.mark.usefixtures("small_batches")
def test_an_import_goes_on_where_the_connection_broke(
    bank: Run, services: Services, bank_csv: Run, tmp_path: Path
) -> None:
    """The service dies while it has the third batch; the next run begins with that one."""
    name = bank_csv(many(10))
    rejection = fact_pb2.Rejection(index=0, field="amount", message="too little")

    async def dies() -> None:
        services.finish.set()
        await asyncio.Event().wait()

    def answer(_: object) -> Any:
        if len(services.asked) == 3:
            return dies()
        return fact_pb2.PostTransactionsResponse(rejected=[rejection] if len(services.asked) == 2 else [])

    services.answers["PostTransactions"] = answer
    broken = bank("import", name, *OWN, "--yes")
    assert broken.exit_code == 1
    assert "unavailable" in broken.stderr
    assert "run the same command again" in broken.stderr
    assert "10 rows read, 3 accepted, 1 refused, 0 repeats, 6 not sent" in broken.stdout
    assert sent(services) == [f"row {number}" for number in range(6)]

    with serving(Services(port=services.port)) as reborn:
        result = bank("import", name, *OWN, "--yes")
        assert "going on where an earlier run was broken off" in result.stdout
        assert "10 rows read, 9 accepted, 1 refused, 0 repeats" in result.stdout
        assert "too little" in result.stdout, "the earlier run's refusals are told too"
        assert sent(reborn) == [f"row {number}" for number in range(4, 10)]
    assert not (tmp_path / "bank.csv.import-state").exists()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("change", "resent"),
    [
        (("--restart",), 4),
        (("--live",), 4),
        (("--user", "2"), 4),
        (("--currency", "EUR"), 4),
        ((), 2),
    ],
    ids=["restart", "live", "another user", "another mapping", "the same"],
)
def test_only_the_same_import_is_gone_on_with(
    bank: Run, services: Services, bank_csv: Run, change: tuple[str, ...], resent: int
) -> None:
    answers: list[Any] = [fact_pb2.PostTransactionsResponse(), TocsinError("no", Reason.INTERNAL)]
    services.answers["PostTransactions"] = lambda _: answers.pop(0) if answers else fact_pb2.PostTransactionsResponse()
    name = bank_csv(many(4))
    assert bank("import", name, *OWN, "--yes").exit_code == 1
    before = len(sent(services))
    assert bank("import", name, *OWN, "--yes", *change).exit_code == 0
    assert len(sent(services)) - before == resent


@pytest.mark.parametrize(
    ("option", "path"), [("--state", "no/such/folder/state"), ("--report", "no/such/folder/rows.csv")]
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_sent(
    bank: Run, services: Services, bank_csv: Run, option: str, path: str
) -> None:
    result = bank("import", bank_csv(THREE + "soon,D,1.00\n"), *OWN, "--yes", option, path)
    assert (result.exit_code, services.asked) == (2, [])
    assert f"say {option}" in result.stderr


def test_a_state_file_that_is_none_is_begun_anew(bank: Run, services: Services, bank_csv: Run, tmp_path: Path) -> None:
    (tmp_path / "bank.csv.import-state").write_text("{nonsense")
    assert bank("import", bank_csv(THREE), *OWN, "--yes").exit_code == 0
    assert len(sent(services)) == 3


def test_a_state_file_that_is_no_text_is_told_and_left(
    bank: Run, services: Services, bank_csv: Run, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    result = bank("import", bank_csv(THREE), *OWN, "--yes", "--state", "photo.jpg")
    assert (result.exit_code, services.asked) == (2, [])
    assert "photo.jpg is no text and holds nothing of an import: say --state" in result.stderr
    assert (tmp_path / "photo.jpg").read_bytes() == b"\xff\xd8\xff"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--report", "bank.csv"),
        ("--state", "../here/bank.csv"),
        ("--report", "bank.toml"),
        ("--report", "out", "--state", "out"),
        ("--state", "bank.csv.refused.csv"),
    ],
    ids=" ".join,
)
def test_no_file_that_is_read_or_written_already_is_written_over(
    bank: Run, services: Services, bank_csv: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path.parent / "here").unlink(missing_ok=True)
    (tmp_path.parent / "here").symlink_to(tmp_path)
    name, mapping = bank_csv(THREE + "soon,D,1.00\n"), bank_csv('sign = "account"\n', "bank.toml")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    result = bank("import", name, "--user", "1", "--account", "11", "--mapping", mapping, *arguments)
    assert (result.exit_code, services.asked) == (2, [])
    assert "would be written as" in " ".join(result.output.replace("│", " ").split())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("more", ["soon,D,1.00\n", ""], ids=["rows are refused", "none is"])
def test_a_file_that_is_no_report_is_not_written_over_by_one(
    bank: Run, services: Services, bank_csv: Run, tmp_path: Path, more: str
) -> None:
    bank_csv("dear diary\n", "diary.txt")
    result = bank("import", bank_csv(THREE + more), *OWN, "--yes", "--report", "diary.txt")
    assert (result.exit_code, services.asked) == (2, [])
    assert "diary.txt is no report of refused rows and is left as it is: say --report" in result.stderr
    assert (tmp_path / "diary.txt").read_text() == "dear diary\n"


def test_a_report_that_others_could_read_is_its_owners_after(bank: Run, bank_csv: Run, tmp_path: Path) -> None:
    report = tmp_path / bank_csv("line,field,value,why\n", "bank.csv.refused.csv")
    report.chmod(0o644)
    assert bank("import", bank_csv(THREE + "soon,D,1.00\n"), *OWN, "--yes").exit_code == 1
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_an_earlier_imports_report_is_no_input(bank: Run, services: Services, bank_csv: Run, tmp_path: Path) -> None:
    name = bank_csv(THREE + "soon,D,1.00\n")
    assert bank("import", name, *OWN, "--yes", "--check").exit_code == 1
    result = bank("import", *sorted(path.name for path in tmp_path.glob("*.csv")), *OWN, "--yes")
    assert (result.exit_code, len(sent(services))) == (1, 3)
    assert "bank.csv.refused.csv: passed over" in result.stderr
    assert bank("import", "bank.csv.refused.csv", *OWN, "--yes").exit_code == 2


def test_amounts_too_few_to_tell_their_sign_are_not_gone_on_with_unasked(
    bank: Run, services: Services, bank_csv: Run
) -> None:
    result = bank("import", bank_csv(THREE), "--user", "1", "--account", "11", "--yes")
    assert (result.exit_code, services.asked) == (2, [])
    assert "--sign" in result.stdout


def test_facts_of_every_kind_reach_their_calls_people_first(bank: Run, services: Services, bank_csv: Run) -> None:
    own = {"id": "5", "user_id": "1", "name": "N", "currency": "USD"}
    facts: list[dict[str, str]] = [
        {"type": "bill", **own, "amount": "1", "due_date": "2025-11-01"},
        {"type": "budget", **own, "amount": "1", "period": "monthly"},
        {"type": "goal", **own, "current_amount": "1", "target_amount": "2"},
        {"type": "transaction", "id": "1", "user_id": "1", "account_id": "5", "amount": "-1", "currency": "USD",
         "posted_on": "2025-11-03"},
        {"type": "account", **own, "balance": "1"},
        {"type": "profile", "user_id": "1", "time_zone": "America/Chicago"},
    ]  # fmt: skip
    result = bank("import", bank_csv("".join(json.dumps(each) + "\n" for each in facts), "facts.jsonl"))
    assert result.exit_code == 0, result.output
    kinds = [type(request).__name__.removesuffix("Request") for request in services.asked]
    assert kinds == ["PutProfiles", "PutAccounts", "PostTransactions", "PutGoals", "PutBudgets", "PutBills"]
    assert all(request.backfill for request in services.asked[1:])
    assert "6 rows read, 6 accepted" in result.stdout


def test_in_dev_a_banks_token_is_made_on_the_spot(tocsin: Run, services: Services, bank_csv: Run) -> None:
    target = {"TOCSIN_EVALUATOR_TARGET": f"127.0.0.1:{services.port}"}
    dev = {"TOCSIN_ENV": "dev", "TOCSIN_JWT_SECRET": BANK_KEY, **target}
    result = tocsin("import", bank_csv(THREE), *OWN, "--yes", "--partner", "9", **dev)
    assert result.exit_code == 0, result.output
    assert services.callers[0].partner_id == 9
    refused = tocsin("import", bank_csv(THREE), *OWN, "--yes", **dev)
    assert (refused.exit_code, "TOCSIN_TOKEN" in refused.stderr) == (2, True)


def test_a_banks_token_is_not_used_for_another_partner(bank: Run, services: Services, bank_csv: Run) -> None:
    refused = bank("import", bank_csv(THREE), *OWN, "--yes", "--partner", "9")
    assert (refused.exit_code, services.asked) == (2, [])
    assert "TOCSIN_TOKEN is of partner 7, not of --partner 9" in refused.stderr
    assert bank("import", bank_csv(THREE), *OWN, "--yes", "--partner", "7").exit_code == 0


def test_the_help_is_told_with_examples(tocsin: Run) -> None:
    told = tocsin("import", "--help").stdout
    for text in ("tocsin import checking.csv --user 1 --account 11", "--show-mapping", "Refused rows and broken runs"):
        assert text in told


def test_every_sample_statement_is_sent_or_refused_by_name(bank: Run, services: Services, bank_data: Path) -> None:
    for path in sorted((bank_data / "ofx_samples").glob("*.ofx")):
        result = bank("import", str(path), "--user", "1", "--report", "refused.csv", "--state", "state")
        if "bad_" in path.name:
            assert result.exit_code == 1, path.name
            assert any(tag in result.stdout for tag in ("DTPOSTED", "TRNAMT", "BALAMT")), result.stdout
        assert result.exit_code in (0, 1) or path.name in result.stderr
    assert sum(len(each.accounts) for each in services.asked if isinstance(each, fact_pb2.PutAccountsRequest)) == 8
