"""Cells, rows and files become facts; what cannot be read is refused alone, by its line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing.amounts import DecimalMark, negated, read_amount
from tocsin_cli.importing.batches import LANES, MOST_ROWS, stages
from tocsin_cli.importing.checking import Checker
from tocsin_cli.importing.csv_file import Whose, read_csv
from tocsin_cli.importing.days import DayReader
from tocsin_cli.importing.facts_file import read_facts
from tocsin_cli.importing.guessing import guess
from tocsin_cli.importing.identity import Repeats, bank_id, stable_id
from tocsin_cli.importing.mapping import read_hints
from tocsin_cli.importing.ofx_file import read_ofx
from tocsin_cli.importing.opening import Format, Unreadable, format_of, open_source
from tocsin_cli.importing.rows import FactKind, Reading, Row
from tocsin_cli.importing.texts import clean

HEAD = "Date,Description,Amount,Balance\n"
OWN = Whose(user=1, account=11)


def read(text: str, repeats: Repeats = Repeats.PURCHASES, whose: Whose = OWN, **hints: object) -> Reading:
    """A CSV file by what is said and guessed."""
    content = text.encode()
    mapping = guess(content, read_hints(hints)).mapping
    return read_csv(content, mapping, whose, repeats, lambda _: None)


def facts(reading: Reading) -> list[Any]:
    """The facts of the file's own rows."""
    return [row.fact for row in reading.rows if not row.implied]


def every_fact(reading: Reading) -> list[Any]:
    """Those too that only follow from the file's rows."""
    return [row.fact for row in reading.rows]


def refused(reading: Reading) -> list[tuple[int, str, str]]:
    """Line, field and value of what is refused."""
    return [(each.line, each.field, each.value) for each in reading.refused]


@pytest.mark.parametrize(
    ("text", "mark", "amount"),
    [
        ("12", ".", "12.00"),
        ("-12.5", ".", "-12.50"),
        ("+7", ".", "7.00"),
        (".5", ".", "0.50"),
        ("1,234,567.89", ".", "1234567.89"),
        ("1.234.567,89", ",", "1234567.89"),
        ("1 234,50", ",", "1234.50"),  # a plain space
        ("1\u202f234,50", ",", "1234.50"),  # a narrow one that does not break
        ("1'234.50", ".", "1234.50"),  # Switzerland
        ("1,23,456.00", ".", "123456.00"),  # India
        ("(12.00)", ".", "-12.00"),
        ("($1,200.50)", ".", "-1200.50"),
        ("12.00-", ".", "-12.00"),
        ("−12,00", ",", "-12.00"),  # a true minus
        ("$-3.10", ".", "-3.10"),
        ("-£3.10", ".", "-3.10"),
        ("12,00 €", ",", "12.00"),
        ("USD 12.00", ".", "12.00"),
        ("15.00 CR", ".", "15.00"),
        ("15.00 DR", ".", "-15.00"),
        ("-0.00", ".", "0.00"),
        ("00012.3400", ".", "12.34"),
        ("0.0079", ".", "0.0079"),
        ("99999999999999.9999", ".", "99999999999999.9999"),
        ("100000000000000", ".", None),  # 15 digits
        ("0.00791", ".", None),  # 5 decimals
        ("12,50", ".", None),  # a decimal comma is no thousands mark
        ("1,2345.00", ".", None),
        ("0,125", ".", None),  # a whole part that begins with 0 is not grouped
        ("-  5.00   USD", ".", "-5.00"),
        ("0" * 65, ".", None),  # no bank writes that
        ("--5", ".", None),
        ("(-5)", ".", None),
        ("(5", ".", None),
        ("-5 DR", ".", None),
        ("NaN", ".", None),
        ("1e5", ".", None),
        ("ten", ".", None),
        ("$", ".", None),
        ("", ".", None),
        ("٣", ".", None),  # digits of other scripts are none of the contract's
    ],
)
def test_amounts_are_read_as_banks_write_them(text: str, mark: DecimalMark, amount: str | None) -> None:
    assert read_amount(text, mark) == amount


def test_a_long_text_is_told_to_be_no_amount_at_once() -> None:
    """White space at four places that may be empty was once tried in every division: 60 spaces took half a minute."""
    began = process_time()
    assert read_amount(f"-{' ' * 45}x", ".") is None
    assert process_time() - began < 0.5


@given(st.decimals(min_value=-(10**13), max_value=10**13, places=2), st.sampled_from([".", ","]))
def test_any_amount_survives_being_written_with_marks(value: Decimal, mark: DecimalMark) -> None:
    written = f"{value:,}".replace(",", "_").replace(".", mark).replace("_", "," if mark == "." else ".")
    amount = read_amount(written, mark)
    assert amount is not None
    assert Decimal(amount) == value
    turned = read_amount(written, mark, reversed_=True)
    assert turned == negated(amount)


def test_a_reversed_sign_leaves_alone_what_says_its_side_itself() -> None:
    assert read_amount("10.00", ".", reversed_=True) == "-10.00"
    assert read_amount("(10.00)", ".", reversed_=True) == "10.00"
    assert read_amount("10.00 CR", ".", reversed_=True) == "10.00"


def test_times_count_only_where_their_zone_is_known() -> None:
    text = "2025-11-03 23:30"
    assert DayReader("%Y-%m-%d %H:%M").read(text).instant is None
    told = DayReader("%Y-%m-%d %H:%M", "America/Chicago").read(text)
    assert (told.day, told.instant) == ("2025-11-04", datetime(2025, 11, 4, 5, 30, tzinfo=UTC))
    assert DayReader("%Y-%m-%d", "America/Chicago").read("2025-11-03").instant is None, "a day has no time"
    for wrong in ("2025-02-30", "2025-11-03 10:00", "", "1200-01-01", "9999-01-01"):
        with pytest.raises(ValueError, match=r"match|remains|range|far"):
            DayReader("%Y-%m-%d").read(wrong)


@pytest.mark.parametrize(
    ("text", "most", "cleaned"),
    [
        ("  DIRECT     DEBIT ", 200, "DIRECT DEBIT"),
        ("a\x00b\x07c\x1fd\te", 200, "a b c d e"),
        ("line\nbreak\u2028here", 200, "line break here"),
        ("é" * 300, 200, "é" * 200),
        ("ab cd", 3, "ab"),
        ("👩‍👩‍👧", 200, "👩‍👩‍👧"),  # joined by characters that print nothing and are no control characters
    ],
)
def test_texts_are_made_fit_for_the_contract(text: str, most: int, cleaned: str) -> None:
    assert clean(text, most) == cleaned


def test_each_bad_row_is_refused_by_line_field_and_value_and_the_rest_is_read() -> None:
    reading = read(
        HEAD
        + "2025-11-03,A,-1.00,9.00\n"
        + "\n"
        + "2025-02-30,B,-1.00,8.00\n"  # line 4
        + '2025-11-04,"C\nof two lines",ten,7.00\n'  # 5 and 6
        + "2025-11-05,D,,6.00\n"  # 7
        + "2025-11-06,E,-1.00\n"  # 8
        + " , ,,\n"
        + "2025-11-07,F,-1.00,4.00,\n"  # an empty cell too many is none
        + "2025-11-08,G,-1.00,3.00,x\n"  # 11
        + ",H,-1.00,2.00\n"  # 12
        + HEAD  # joined exports
        + "2025-11-09,I,-1.00,1.00\n"
        + "Total,,,1.00\n",  # 15
    )
    assert [fact.description for fact in facts(reading)] == ["A", "F", "I"]
    assert refused(reading) == [
        (4, "Date", "2025-02-30"),
        (5, "Amount", "ten"),
        (7, "Amount", ""),
        (8, "", "2025-11-06,E,-1.00"),
        (11, "", "2025-11-08,G,-1.00,3.00,x"),
        (12, "Date", ""),
        (15, "Date", "Total"),
    ]
    assert reading.count == 10
    assert "has 3 columns where the heading has 4" in reading.refused[3].why


def test_a_quotation_mark_left_open_is_refused_by_its_line_and_swallows_no_row() -> None:
    reading = read(
        HEAD
        + '2025-11-03,A,"-1.00",9.00\n'
        + '2025-11-04,"5 inch nails,-1.00,8.00\n'  # line 3
        + "2025-11-05,C,-1.00,7.00\n"
        + '2025-11-06,"Nails, Inc",-1.00,6.00\n'  # its first mark would close the open one
        + '2025-11-07,"E\r\nof ""two"" lines",-1.00,5.00\n'
        + '2025-11-08,"F,-1.00,4.00\n'  # 8, closed by nothing
        + "2025-11-09,G,-1.00,3.00\n"
    )
    assert [fact.description for fact in facts(reading)] == ["A", "C", "Nails, Inc", 'E of "two" lines', "G"]
    assert refused(reading) == [
        (3, "", '2025-11-04,"5 inch nails,-1.00,8.00'),
        (8, "", '2025-11-08,"F,-1.00,4.00'),
    ]
    assert all("a quotation mark may be open" in each.why for each in reading.refused)
    assert reading.count == 7


def test_an_open_quotation_mark_before_very_many_rows_is_refused_alone() -> None:
    """More than the 131,072 characters that the csv module takes for one cell."""
    many = "".join(f"2025-11-04,row {number},-1.00,8.00\n" for number in range(6_000))
    reading = read(HEAD + '2025-11-03,"A,-1.00,9.00\n' + many)
    assert ([each.line for each in reading.refused], len(facts(reading))) == ([2], 6_000)


def test_debit_goes_out_credit_comes_in_and_both_or_neither_is_refused() -> None:
    reading = read(
        "Date,Text,Debit,Credit\n2025-11-03,A,5.00,\n2025-11-03,B,-6.00,0.00\n2025-11-03,C,,7.00\n"
        "2025-11-03,D,0.00,8.00\n2025-11-03,E,1.00,2.00\n2025-11-03,F,,\n2025-11-03,G,0.00,\n"
    )
    assert [fact.amount for fact in facts(reading)] == ["-5.00", "-6.00", "7.00", "8.00", "0.00"]
    assert refused(reading) == [(6, "Debit, Credit", "1.00, 2.00"), (7, "Debit, Credit", "")]


def test_a_word_that_says_neither_debit_nor_credit_is_refused() -> None:
    good = "".join(f"2025-11-{day:02},A,Debit,1.00\n" for day in range(1, 29))
    columns = {"direction": "Type"}
    reading = read(f"Date,Text,Type,Amount\n{good}2025-11-29,B,Sideways,1.00\n", columns=columns)
    assert refused(reading) == [(30, "Type", "Sideways")]


def test_accounts_and_users_of_a_column_are_hashed_unless_they_are_the_banks_numbers() -> None:
    text = (
        "Date,Text,Amount,Account,Who\n2025-11-03,A,-1.00,NL01,7\n2025-11-03,B,1.00,NL02,ann\n2025-11-03,C,1.00,,ann\n"
    )
    reading = read(text, whose=Whose(), columns={"user": "Who"})
    first, second = facts(reading)
    assert (first.account_id, first.user_id) == (stable_id("account", "NL01"), 7)
    assert first.account_id != second.account_id
    assert second.user_id == bank_id(0, "ann") > 10**6
    assert refused(reading) == [(4, "Account", "")]


def test_ids_are_the_same_in_every_run_and_for_a_file_that_goes_the_other_way() -> None:
    rows = ["2025-11-03,A,-1.00,9.00\n", "2025-11-04,A,-1.00,8.00\n", "2025-11-04,B,-2.0,6.00\n"]
    there, back = read(HEAD + "".join(rows)), read(HEAD + "".join(rows[::-1]).replace("-2.0,", "-2.00,"))
    assert [fact.id for fact in facts(there)] == [fact.id for fact in facts(back)]
    assert all(0 < fact.id < 2**63 for fact in facts(there))
    assert [row.line for row in back.rows if not row.implied] == [4, 3, 2]


def test_an_id_is_what_it_was_when_the_first_file_was_imported() -> None:
    """Changing how ids are made would import everybody's files a second time."""
    text = "Date,Text,Amount\n2025-11-03,Corner Shop,-4.80\n"
    [fact] = facts(read(text))
    assert fact.id == facts(read(text, columns={"merchant": ""}))[0].id, "whether or not the text is the merchant too"
    assert fact.id == 2520330513722579380


def test_the_banks_own_id_is_kept_and_another_transaction_with_it_is_refused() -> None:
    text = "Transaction ID,Date,Text,Amount\n991,2025-11-03,A,-1.00\nX-1,2025-11-03,B,-1.00\n"
    columns = {"id": "Transaction ID"}
    reading = read(text + "991,2025-11-03,A,-1.00\n991,2025-11-03,A,-2.00\n", columns=columns)
    assert [fact.id for fact in facts(reading)] == [991, bank_id(11, "X-1")]
    assert bank_id(11, "X-1") != bank_id(12, "X-1")
    assert (reading.repeats, reading.left_out) == (1, 1)
    assert [(each.line, each.why) for each in reading.refused] == [(5, "line 2 has this id and is another transaction")]


@pytest.mark.parametrize(
    ("repeats", "kept", "left_out"), [(Repeats.PURCHASES, 4, 0), (Repeats.SAME, 2, 2)], ids=lambda value: str(value)
)
def test_exact_repeats_are_purchases_of_their_own_or_one(repeats: Repeats, kept: int, left_out: int) -> None:
    text = "Date,Text,Amount\n" + "2025-11-03,Tea,-1.00\n" * 3 + "2025-11-04,Tea,-1.00\n"
    reading = read(text, repeats)
    assert len({fact.id for fact in facts(reading)}) == kept
    assert (len(facts(reading)), reading.repeats, reading.left_out, reading.count) == (kept, 2, left_out, 4)


def test_rows_that_a_balance_tells_apart_are_no_repeats() -> None:
    reading = read(HEAD + "2025-11-03,Tea,-1.00,9.00\n2025-11-03,Tea,-1.00,8.00\n", Repeats.SAME)
    assert (len({fact.id for fact in facts(reading)}), reading.repeats) == (2, 0)


@pytest.mark.parametrize("turn", [1, -1], ids=["oldest first", "newest first"])
def test_the_account_opens_before_the_first_row_and_ends_at_the_last_balance(turn: int) -> None:
    rows = ["2025-11-03,A,-1.00,9.00\n", "2025-11-03,B,4.00,13.00\n", "2025-11-03,C,-3.00,10.00\n"]
    reading = read(HEAD + "".join(rows[::turn]))
    account, *moved = every_fact(reading)
    assert (account.id, account.user_id, account.balance, account.as_of.seconds) == (11, 1, "10.00", 0)
    assert [fact.balance_after for fact in moved] == ["9.00", "13.00", "10.00"]


def test_a_file_is_opened_through_gzip_and_what_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv.gz"
    path.write_bytes(gzip.compress(HEAD.encode()))
    assert open_source(path).content == HEAD.encode()
    for content, complaint in (
        (gzip.compress(HEAD.encode())[:-9], "cannot be read"),
        (b"PK\x03\x04rest", "a workbook"),
        (b"%PDF-1.7", "a PDF"),
        (b" \n", "empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(Unreadable, match=complaint):
            open_source(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"OFXHEADER:100\n", Format.OFX),
        (b"\n\n<OFX>", Format.OFX),
        (b'<?xml version="1.0"?>\n<?OFX OFXHEADER="200"?>', Format.OFX),
        (b'\xef\xbb\xbf{"type": "goal"}', Format.FACTS),
        (b"date,amount\n", Format.CSV),
    ],
)
def test_the_format_is_told_by_what_is_in_the_file(content: bytes, found: Format) -> None:
    assert format_of(content) is found


OFX = """OFXHEADER:100
DATA:OFXSGML
VERSION:102
SECURITY:NONE
ENCODING:USASCII
CHARSET:1252
COMPRESSION:NONE
OLDFILEUID:NONE
NEWFILEUID:NONE

<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>USD<BANKACCTFROM><BANKID>1<ACCTID>00123456<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST>
%s
</BANKTRANLIST><LEDGERBAL><BALAMT>382.34<DTASOF>20251105101500[-6:CST]</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>
"""


def ofx(*transactions: str, whose: Whose = OWN) -> Reading:
    """A statement with these transactions, one a line from line 13 on."""
    lines = "\n".join(f"<STMTTRN>{each}</STMTTRN>" for each in transactions)
    return read_ofx((OFX % lines).encode("cp1252"), whose, None, Repeats.PURCHASES)


def test_an_ofx_statement_is_an_account_with_its_balance_and_transactions() -> None:
    reading = ofx(
        "<DTPOSTED>20251104<TRNAMT>-4,80<FITID>F2<NAME><![CDATA[Caf\u00e9 & Co]]></NAME><MEMO><![CDATA[two]]></MEMO>",
        "<TRNTYPE>POS<DTPOSTED>20251103233000.000[-6:CST]<TRNAMT>+0010<FITID>F1<NAME>A &amp; B<MEMO>one",
        "<DTPOSTED>20251104<TRNAMT>-1<FITID>F3<NAME>Abroad<CURRENCY><CURRATE>1.1<CURSYM>EUR</CURRENCY>",
        "<DTPOSTED>20251105<TRNAMT>-1<FITID>F4<NAME>Was abroad<ORIGCURRENCY><CURRATE>1.1<CURSYM>EUR</ORIGCURRENCY>",
        whose=Whose(user=1),
    )
    account, *moved = facts(reading)
    assert (account.id, account.user_id, account.name) == (
        stable_id("account", "1", "00123456"),
        1,
        "Checking ending 3456",
    )
    assert (account.balance, account.as_of.ToJsonString()) == ("382.34", "2025-11-05T16:15:00Z")
    assert [(each.merchant, each.amount, each.currency) for each in moved] == [
        ("A & B", "10.00", "USD"),
        ("Caf\u00e9 & Co", "-4.80", "USD"),
        ("Abroad", "-1.00", "EUR"),
        ("Was abroad", "-1.00", "USD"),
    ]
    assert (moved[0].posted_at.ToJsonString(), moved[1].posted_on) == ("2025-11-04T05:30:00Z", "2025-11-04")
    assert moved[1].description == "two"
    assert moved[1].id == stable_id("fitid", account.id, "F2")


def test_a_fitid_is_of_its_account_and_names_one_transaction() -> None:
    one = "<DTPOSTED>20251104<TRNAMT>-1<FITID>F1<NAME>A"
    reading = ofx(one, one, "<DTPOSTED>20251104<TRNAMT>-2<FITID>F1<NAME>A")
    assert (len(facts(reading)), reading.repeats, reading.count) == (2, 1, 4)
    assert [(each.line, each.field) for each in reading.refused] == [(15, "id")]
    assert facts(ofx(one))[1].id != facts(ofx(one, whose=Whose(user=1, account=12)))[1].id


@pytest.mark.parametrize(
    ("tags", "field", "value"),
    [
        ("<TRNAMT>-1<FITID>F", "DTPOSTED", ""),
        ("<DTPOSTED></DTPOSTED><TRNAMT>-1<FITID>F", "DTPOSTED", ""),
        ("<DTPOSTED>20250230<TRNAMT>-1<FITID>F", "DTPOSTED", "20250230"),
        ("<DTPOSTED>tomorrow<TRNAMT>-1<FITID>F", "DTPOSTED", "tomorrow"),
        ("<DTPOSTED>20251104<FITID>F", "TRNAMT", ""),
        ("<DTPOSTED>20251104<TRNAMT>$120<FITID>F", "TRNAMT", "$120"),
        ("<DTPOSTED>20251104<TRNAMT>NaN<FITID>F", "TRNAMT", "NaN"),
        ("<DTPOSTED>20251104<TRNAMT>1E999999999<FITID>F", "TRNAMT", "1E999999999"),
        ("<DTPOSTED>20251104<TRNAMT>0.00001<FITID>F", "TRNAMT", "0.00001"),
    ],
)
def test_a_bad_ofx_transaction_is_refused_alone_by_its_line(tags: str, field: str, value: str) -> None:
    reading = ofx("<DTPOSTED>20251104<TRNAMT>-1<FITID>G<NAME>Good", tags)
    assert refused(reading) == [(14, field, value)]
    assert len(facts(reading)) == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (OFX.encode() % b"", None),
        (OFX.encode() % b"<STMTTRN><DTPOSTED>20251104<TRNAMT>-1", None),
        ((OFX.encode() % b"").replace(b"</OFX>", b""), "ends before </OFX>"),
        ((OFX.encode() % b"").replace(b"DATA:OFXSGML\n", b""), "header is not as it should be"),
        ((OFX.encode() % b"").replace(b"<ACCTID>00123456", b"<ACCTID></ACCTID>"), "ACCTID is empty"),
        ((OFX.encode() % b"").replace(b"BANKACCTFROM", b"SOMEACCTFROM"), "BANKACCTFROM is missing"),
        (b"OFXHEADER:100 nonsense</OFX>", "header is not as it should be"),
        (b"<OFX></OFX></OFX></OFX>", "do not fit together"),
        (b"<OFX></OFX>", "holds no statement"),
    ],
)
def test_an_ofx_file_that_cannot_be_read_says_why(content: bytes, complaint: str | None) -> None:
    if complaint is None:
        assert read_ofx(content, OWN, None, Repeats.PURCHASES).count >= 1
    else:
        with pytest.raises(Unreadable, match=complaint):
            read_ofx(content, OWN, None, Repeats.PURCHASES)


#: (good rows, and line, field and value of the refused ones) of each sample; None: the whole file is refused.
SAMPLES: dict[str, tuple[int, list[tuple[int, str, str]]] | None] = {
    "anzcc": (2, []),
    "bad_date_missing": (1, [(33, "DTPOSTED", ""), (40, "DTPOSTED", ""), (48, "DTPOSTED", "20120231")]),
    "bad_decimal_error": (1, [(34, "TRNAMT", "$120")]),
    "bad_empty_balance": (1, [(37, "BALAMT", "")]),
    "bank_medium": (4, []),
    "bank_small": None,
    "checking": (4, []),
    "fidelity-savings": (4, []),
    "multiple_accounts": (2, []),
    "ofx-v102-empty-tags": (1, [(23, "BALAMT", "")]),
    "suncorp": (2, []),
}


def test_every_sample_is_spoken_of(bank_data: Path) -> None:
    names = {path.stem.removeprefix("ofxparse_") for path in (bank_data / "ofx_samples").glob("*.ofx")}
    assert names == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read_or_refused_with_what_is_wrong(name: str, bank_data: Path) -> None:
    content = open_source(bank_data / "ofx_samples" / f"ofxparse_{name}.ofx").content
    assert format_of(content) is Format.OFX
    expected = SAMPLES[name]
    if expected is None:
        with pytest.raises(Unreadable, match="holds no statement"):
            read_ofx(content, Whose(user=1), None, Repeats.PURCHASES)
        return
    reading = read_ofx(content, Whose(user=1), None, Repeats.PURCHASES)
    assert (len(reading.rows), refused(reading)) == expected
    assert [Checker().refusal_of(row) for row in reading.rows] == [None] * len(reading.rows)


def lines(*objects: object) -> bytes:
    """JSON lines."""
    return "".join(f"{json.dumps(each)}\n" for each in objects).encode()


BILL = {"type": "bill", "id": "7", "user_id": "1", "name": "Rent", "currency": "USD", "amount": "1200.00"}


def test_facts_are_read_in_both_forms_of_enums_and_field_names() -> None:
    reading = read_facts(
        lines(
            {**BILL, "due_date": "2025-11-01", "recurrence": "monthly"},
            {**BILL, "dueDate": "2025-11-01", "recurrence": "BILL_RECURRENCE_MONTHLY"},
            {"type": "profile", "user_id": 1, "email": "a@example.com", "time_zone": "America/Chicago"},
            {"type": "transaction", "id": 2, "user_id": 1, "account_id": 1, "posted_on": "2025-11-02"},
            {"type": "transaction", "id": 1, "user_id": 1, "account_id": 1, "posted_at": "2025-11-01T10:00:00Z"},
        )
    )
    monthly, same, _, first, second = every_fact(reading)
    assert monthly == same
    assert monthly.recurrence == fact_pb2.BILL_RECURRENCE_MONTHLY
    assert (first.id, second.id) == (1, 2), "transactions oldest first"


@pytest.mark.parametrize(
    ("line", "field", "why"),
    [
        (b"{", "", "is no JSON"),
        (b'["bill"]', "", "is no JSON object"),
        (b'{"id": "7"}', "type", "is none of profile, account"),
        (b'{"type": ["bill"]}', "type", "is none of"),
        (lines({**BILL, "colour": "red"}), "", "no field named"),
        (lines({**BILL, "amount": 12}), "", "is no bill"),
        (lines({**BILL, "recurrence": "sometimes"}), "", "is no bill"),
        (b"\xff\xfe", "", "is no JSON"),
        (b"[" * 100_000, "", "is no JSON"),
    ],
    ids=range(9),
)
def test_a_line_that_is_no_fact_is_refused_alone(line: bytes, field: str, why: str) -> None:
    good = lines({**BILL, "due_date": "2025-11-01"})
    reading = read_facts(good + b"\n" + line.strip() + b"\n" + good)
    assert [(each.line, each.field) for each in reading.refused] == [(3, field)]
    assert why in reading.refused[0].why
    assert (len(reading.rows), reading.count) == (2, 3)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"id": "0"}, "id"),
        ({"name": "x" * 201}, "name"),
        ({"amount": "12.00001"}, "amount"),
        ({"currency": "XXQ"}, "currency"),
        ({"due_date": "2025-02-30"}, "due_date"),
        ({"paid_through": "2025-13-01"}, "paid_through"),
        ({"recurrence": 99}, "recurrence"),
    ],
)
def test_the_contracts_rules_decide_before_anything_is_sent(more: dict[str, object], field: str) -> None:
    good, bad = read_facts(lines({**BILL, "due_date": "2025-11-01"}, {**BILL, "due_date": "2025-11-01", **more})).rows
    checker = Checker()
    assert checker.refusal_of(good) is None
    found = checker.refusal_of(bad)
    assert found is not None
    assert (found.line, found.field) == (2, field)


def rows_of(accounts: Sequence[int]) -> list[Row]:
    """A transaction of each account."""
    made = [fact_pb2.Transaction(id=number, account_id=each) for number, each in enumerate(accounts, start=1)]
    return [Row(fact.id, fact) for fact in made]


@given(st.lists(st.integers(1, 50), max_size=200), st.integers(0, 3))
def test_batches_hold_every_row_once_and_each_account_in_its_order(accounts: list[int], profiles: int) -> None:
    people = [Row(0, fact_pb2.Profile(user_id=number + 1)) for number in range(profiles)]
    planned = stages([*rows_of(accounts), *people])
    lanes = [lane for stage in planned for lane in stage]
    sent = [row for lane in lanes for batch in lane.batches for row in batch]
    assert len(sent) == len(accounts) + profiles
    for account in set(accounts):
        homes = [
            [row for batch in lane.batches for row in batch if getattr(row.fact, "account_id", 0) == account]
            for lane in lanes
        ]
        [home] = filter(None, homes)
        assert [row.line for row in home] == sorted(row.line for row in home)
    assert [lane.kind for lane in lanes] == sorted((lane.kind for lane in lanes), key=list(FactKind).index)
    assert all(len(stage) <= LANES for stage in planned)


def test_no_batch_is_larger_than_the_contract_allows() -> None:
    [[lane]] = stages(rows_of([3] * (2 * MOST_ROWS + 1)))
    assert [len(batch) for batch in lane.batches] == [MOST_ROWS, MOST_ROWS, 1]
    assert MOST_ROWS <= 1000
