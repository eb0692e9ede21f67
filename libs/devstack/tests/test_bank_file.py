"""Bank files as banks write them are read, and what cannot be read is named by its line."""

from contextlib import suppress
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_devstack.bank_file import BankFileError, read_bank_file


def _file(folder: Path, text: str) -> Path:
    path = folder / "bank.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_date_description_and_amount_suffice_and_the_balance_is_then_the_running_sum(tmp_path: Path) -> None:
    lines = read_bank_file(_file(tmp_path, "Date,Description,Amount\n2025-11-01,A,10.00\n2025-11-02,B,-2.50\n"))
    assert [(line.on, line.amount, line.balance_after) for line in lines] == [
        (date(2025, 11, 1), Decimal("10.00"), Decimal("10.00")),
        (date(2025, 11, 2), Decimal("-2.50"), Decimal("7.50")),
    ]
    assert [line.source for line in lines] == ["line 2", "line 3"], "as an editor counts, the heading being line 1"


def test_american_dates_signs_and_separate_columns_are_understood(tmp_path: Path) -> None:
    text = 'Posting Date,Details,Debit,Credit,Balance\n11/02/2025,B,"$1,200.50",,5.00\n11/01/2025,A,,(3.00),1205.50\n'
    lines = read_bank_file(_file(tmp_path, text))
    assert [(line.description, line.amount, line.balance_after) for line in lines] == [
        ("A", Decimal("-3.00"), Decimal("1205.50")),
        ("B", Decimal("-1200.50"), Decimal("5.00")),
    ], "newest first in the file, oldest first here"
    assert [line.number for line in lines] == [3, 2]


def test_lines_of_one_day_keep_the_files_order(tmp_path: Path) -> None:
    text = "date,description,amount\n2025-11-01,A,1\n2025-11-01,B,1\n2025-11-01,C,1\n"
    assert [line.description for line in read_bank_file(_file(tmp_path, text))] == ["A", "B", "C"]
    newest_first = "date,description,amount\n2025-11-02,C,1\n2025-11-01,B,1\n2025-11-01,A,1\n"
    assert [line.description for line in read_bank_file(_file(tmp_path, newest_first))] == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("date,description,amount\n2025-13-01,A,1\n", "line 2: '2025-13-01' is no date"),
        ("date,description,amount\n2025-11-01,A,ten\n", "line 2: 'ten' is no amount"),
        ("date,description,amount\n2025-11-01,A,NaN\n", "line 2: 'NaN' is no amount"),
        ("date,description,amount\n2025-11-01,A,\n", "line 2: no amount"),
        ("date,amount\n2025-11-01,1\n", "no column for description"),
        ("date,description\n2025-11-01,A\n", "no column for amount"),
        ("date,description,amount\n", "holds no transaction"),
        ("", "no column for date, description, amount"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BankFileError, match=complaint):
        read_bank_file(_file(tmp_path, text))


def test_a_file_that_is_no_text_is_refused_kindly(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(BankFileError, match="cannot be read as CSV"):
        read_bank_file(path)
    with pytest.raises(BankFileError, match="cannot be read as CSV"):
        read_bank_file(tmp_path / "absent.csv")


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_text_ends_in_another_error(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        path.write_bytes(("date,description,amount\n" + text).encode())
        with suppress(BankFileError):
            assert read_bank_file(path)


def test_the_real_account_ties_out_to_the_cent(bank_data: Path) -> None:
    lines = read_bank_file(bank_data / "sshc_checking" / "transactions.csv")
    assert len(lines) == 3881
    for before, line in pairwise(lines):
        assert before.balance_after + line.amount == line.balance_after, line
