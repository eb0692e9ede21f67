"""A few days on the real stack, as a person asks for them: from the command's own start to its last line."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tocsin_cli.app import make_app, plugins
from tocsin_devstack.scenario import Kind

pytestmark = pytest.mark.timeout(300)

#: Three rents before the window of three days. In it a rise, a fall, a large payment and the next rent.
BANK_FILE = """\
Date,Description,Amount,Balance,Category
2025-08-03,LANDLORD #1201,-500.00,4500.00,Rent
2025-09-03,LANDLORD #1202,-500.00,4000.00,Rent
2025-10-03,LANDLORD #1203,-500.00,3500.00,Rent
2025-10-20,"POS DEBIT CORNER FOODS, 555-0100",-80.25,3419.75,Food
2025-11-01,CORNER FOODS 11/01,-20.10,3399.65,Food
2025-11-01,CORNER FOODS 11/01,-31.15,3368.50,Food
2025-11-02,DEPOSIT,"1,900.00","5,268.50",Income
2025-11-03,CORNER FOODS 11/03,-12.00,5256.50,Food
2025-11-03,LANDLORD #1204,-500.00,4756.50,Rent
2025-11-03,FURNITURE WORLD,-1800.00,2956.50,Home
"""


@dataclass(frozen=True)
class Run:
    """What the command ended with: exit code, the account's lines, the books of its last line, its complaint."""

    code: int
    account: Sequence[str]
    books: Mapping[str, Any]
    complaint: str

    @property
    def whys(self) -> list[str]:
        return [line.strip() for line in self.account if line.strip().startswith("why: ")]

    def spent(self) -> list[tuple[Decimal, str]]:
        """(what the message says was spent, why) of each firing of a budget."""
        after = zip(self.account, self.account[1:], strict=False)
        said = ((re.search(r"is at \d+% \(\$([\d,]+\.\d\d) of", line), why) for line, why in after)
        return [(_money(found[1]), why) for found, why in said if found is not None]


def simulate(*arguments: str | Path) -> Run:
    """Run `tocsin simulate`."""
    done = CliRunner().invoke(make_app(plugins()), ["simulate", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    *account, last = done.stdout.splitlines()
    return Run(done.exit_code, account, json.loads(last), done.stderr.strip())


def _money(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _listed(why: str) -> Decimal:
    """The sum of the amounts a budget's evidence lists."""
    evidence = why.split("; ", 1)[1]
    return sum((Decimal(amount) for amount in re.findall(r" (-?\d+\.\d\d)\b", evidence)), Decimal(0))


@pytest.fixture(scope="module")
def household() -> Run:
    """Wednesday to Friday; on Thursday at 23:10 a large purchase, on Friday at 06:30 the salary."""
    return simulate("--days", "3", "--seed", "7", "--until", "2026-01-23")


def test_the_household_is_lived_through_with_nothing_lost_and_nothing_doubled(household: Run) -> None:
    books = household.books
    assert (household.code, household.complaint) == (0, "")
    assert (books["lost"], books["duplicated"], books["days"]) == (0, 0, 3)
    assert books["notifications"] == sum(books["firings"].values())
    assert all(books["firings"][kind.value] > 0 for kind in Kind), "each kind has something to say"
    assert books["deliveries"]["in_app"] == {"sent": books["notifications"]}, "in-app always, at once"
    assert len(household.whys) == books["notifications"], "every firing says why"
    assert all("transaction " in why for why in household.whys), "and names the lines that made it true"


def test_what_a_budgets_lines_come_to_is_what_its_message_says_was_spent(household: Run) -> None:
    assert len(household.spent()) == household.books["firings"]["spending_target"]
    for spent, why in household.spent():
        assert -_listed(why) == spent, why


def test_a_low_balance_held_overnight_is_not_told_after_the_salary_and_the_account_says_so(household: Run) -> None:
    low = [line.strip() for line in household.account if "Robin" in line and "Low balance" in line]
    assert low == [
        "23:10 to Robin: Low balance: Checking. Your Checking balance is below $1,000.00. Current balance: $783.56",
        "to Robin, no longer waiting: Low balance: Checking: email suppressed (no_longer_true)",
        "to Robin, no longer waiting: Low balance: Checking: sms suppressed (no_longer_true)",
    ]


@pytest.fixture(scope="module")
def bank_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "bank.csv"
    path.write_text(BANK_FILE)
    return path


def _every_why_can_be_checked_against(run: Run, rows: Sequence[Mapping[str, str]], amount: str, balance: str) -> None:
    """Each line that is named says the amount, or leaves the balance, that the file says there."""
    assert len(run.whys) == run.books["notifications"] > 0
    for why in run.whys:
        evidence = why.split("; ", 1)[1]
        balances = re.findall(r"balance (-?\d+\.\d\d) after line (\d+)", evidence)
        amounts = re.findall(r"line (\d+)(?:: \d{4}-\d\d-\d\d)? (-?\d+\.\d\d)", evidence)
        assert balances or amounts, f"names no line: {why}"
        for said, number in balances:
            assert _money(rows[int(number) - 2][balance]) == Decimal(said), why
        for number, said in amounts:
            assert _money(rows[int(number) - 2][amount]) == Decimal(said), why
    for spent, why in run.spent():
        assert -_listed(why) == spent, why


def test_every_firing_about_a_bank_file_can_be_checked_against_its_lines(bank_file: Path) -> None:
    run = simulate("--data", bank_file, "--days", "3")
    assert (run.code, run.complaint) == (0, ""), "each kind fired, nothing lost, nothing doubled"
    _every_why_can_be_checked_against(run, list(csv.DictReader(BANK_FILE.splitlines())), "Amount", "Balance")
    assert "line 11: 2025-11-03 -1800.00 FURNITURE WORLD" in " ".join(run.whys)


def test_every_firing_about_the_real_account_can_be_checked_against_its_lines(bank_data: Path) -> None:
    path = bank_data / "sshc_checking" / "transactions.csv"
    run = simulate("--data", path, "--days", "5")
    assert (run.books["lost"], run.books["duplicated"]) == (0, 0)
    with path.open(newline="") as file:
        _every_why_can_be_checked_against(run, list(csv.DictReader(file)), "amount", "balance_after")


def test_an_e_mail_repeated_after_silence_is_counted_and_fails_the_run(bank_file: Path, tmp_path: Path) -> None:
    accepted_in_silence = {"provider": "sendgrid", "behaviour": "reset_after", "times": 1}
    receipts_come_late = {"provider": "sendgrid", "behaviour": "delay", "delay": "PT1M", "times": 1}
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"calls": [accepted_in_silence], "callbacks": [receipts_come_late]}))
    run = simulate("--data", bank_file, "--days", "3", "--faults", faults)
    assert (run.code, run.complaint) == (1, "failed: 0 lost, 1 duplicated"), "and every kind fired all the same"
    assert (run.books["lost"], run.books["duplicated"]) == (0, 1)


def test_orders_that_cannot_be_read_are_refused_before_anything_starts(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"calls": [{"provider": "pigeon", "behaviour": "reset_after"}]}')
    done = CliRunner().invoke(make_app(plugins()), ["simulate", "--faults", str(faults)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "provider" in done.stderr


def test_a_call_that_breaks_the_providers_document_fails_the_run(
    bank_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_documents(tmp_path, sendgrid={"required": ["reply_to"]}, twilio={"required": ["Body"]})
    monkeypatch.setattr("tocsin_devstack.rehearsal.provider_documents", lambda: tmp_path)
    run = simulate("--data", bank_file, "--days", "3")
    assert run.code == 1
    refused = run.books["deliveries"]["email"]["failed"]
    said = "the first by sendgrid: 400 None: 'reply_to' is a required property"
    assert run.complaint == f"failed: {refused} calls refused as invalid, {said}"


def _write_documents(folder: Path, sendgrid: object, twilio: object) -> None:
    """Documents of both providers with these schemas at the places where theirs are."""
    body = {"content": {"application/json": {"schema": sendgrid}}}
    form = {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": twilio}}}}
    documents = {
        "sendgrid_mail_send": {"paths": {}, "components": {"requestBodies": {"PostMailSend": body}}},
        "twilio_messages": {
            "paths": {"/2010-04-01/Accounts/{AccountSid}/Messages.json": {"post": form}},
            "components": {},
        },
    }
    for name, document in documents.items():
        (folder / f"{name}.corrected.openapi.json").write_text(json.dumps(document))
