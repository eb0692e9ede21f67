"""What a bank's columns mean and how it writes is guessed from headings and values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing.csv_file import Whose, read_csv
from tocsin_cli.importing.guessing import Guess, guess
from tocsin_cli.importing.identity import Repeats, id_within
from tocsin_cli.importing.mapping import (
    Hints,
    MappingError,
    Meaning,
    Sign,
    read_hints,
    read_toml,
    write_toml,
)
from tocsin_cli.importing.opening import Unreadable, open_source
from tocsin_cli.importing.rows import Reading


def transactions(reading: Reading) -> list[fact_pb2.Transaction]:
    """The file's transactions."""
    return [row.fact for row in reading.rows if isinstance(row.fact, fact_pb2.Transaction)]


def posted(reading: Reading) -> list[tuple[str, str, str]]:
    """Day, amount and currency of each transaction."""
    return [(fact.posted_on, fact.amount, fact.currency) for fact in transactions(reading)]


def read(content: bytes, hints: Hints | None = None, repeats: Repeats = Repeats.PURCHASES) -> Reading:
    """A CSV file of user 1's account 11, read by what is guessed."""
    mapping = guess(content, hints or Hints()).mapping
    return read_csv(content, mapping, Whose(user=1, account=11), repeats, lambda _: None)


@dataclass(frozen=True)
class Style:
    """How one bank exports, and what must come of it."""

    name: str
    text: str
    columns: dict[Meaning, str]
    rows: list[tuple[str, str, str]]
    encoding: str = "utf-8"
    expected: dict[str, object] = field(default_factory=dict)
    #: Two or three amounts do not tell by themselves which sign is money out.
    tells_sign: bool = True


STYLES = [
    Style(
        "US checking: debit and credit columns, dollars with thousands, newest first",
        'Posting Date,Description,Debit,Credit,Balance\n11/21/2025,RENT,"$1,200.50",,"$99.50"\n'
        '11/03/2025,PAYROLL,,"$1,300.00","$1,300.00"\n',
        {Meaning.DATE: "Posting Date", Meaning.DEBIT: "Debit", Meaning.CREDIT: "Credit", Meaning.BALANCE: "Balance"},
        [("2025-11-03", "1300.00", "USD"), ("2025-11-21", "-1200.50", "USD")],
        expected={"date_format": "%m/%d/%Y", "currency": "USD"},
    ),
    Style(
        "German: semicolons, decimal comma, latin-1, umlauts, day first, preamble above the headings",
        "Kontoauszug;;;;\nKonto:;DE00 1234;;;\n\nBuchungstag;Auftraggeber/Empfänger;Verwendungszweck;Betrag;Währung\n"
        "03.11.2025;Bäckerei Groß;Kartenzahlung;-4,80;EUR\n04.11.2025;Arbeitgeber;Gehalt;2.500,00;EUR\n",
        {
            Meaning.DATE: "Buchungstag",
            Meaning.MERCHANT: "Auftraggeber/Empfänger",
            Meaning.DESCRIPTION: "Verwendungszweck",
            Meaning.AMOUNT: "Betrag",
            Meaning.CURRENCY: "Währung",
        },
        [("2025-11-03", "-4.80", "EUR"), ("2025-11-04", "2500.00", "EUR")],
        encoding="latin-1",
        expected={"delimiter": ";", "decimal_mark": ",", "date_format": "%d.%m.%Y", "encoding": "cp1252"},
        tells_sign=False,
    ),
    Style(
        "French: debit and credit with spaces in thousands, accents in the headings",
        "Date;Libellé;Débit;Crédit\n03/11/2025;LOYER;1 200,00;\n25/11/2025;SALAIRE;;2 500,00\n",
        {Meaning.DATE: "Date", Meaning.DESCRIPTION: "Libellé", Meaning.DEBIT: "Débit", Meaning.CREDIT: "Crédit"},
        [("2025-11-03", "-1200.00", "USD"), ("2025-11-25", "2500.00", "USD")],
        expected={"decimal_mark": ",", "date_format": "%d/%m/%Y"},
    ),
    Style(
        "UK card: purchases are positive, a card number, day first by a day above 12",
        "Transaction Date,Merchant Name,Amount (GBP),Card Number\n03/11/2025,TESCO,25.10,****1234\n"
        "13/11/2025,AMAZON,9.99,****1234\n14/11/2025,AMAZON REFUND,-9.99,****1234\n",
        {Meaning.MERCHANT: "Merchant Name", Meaning.AMOUNT: "Amount (GBP)", Meaning.ACCOUNT: "Card Number"},
        [("2025-11-03", "-25.10", "GBP"), ("2025-11-13", "-9.99", "GBP"), ("2025-11-14", "9.99", "GBP")],
        expected={"sign": Sign.REVERSED, "date_format": "%d/%m/%Y", "currency": "GBP"},
        tells_sign=False,
    ),
    Style(
        "Fintech: UTF-8 with BOM, ISO dates, ids, several currencies in a column",
        "Transaction ID,Date,Payee,Amount,Currency,Category\nA-1,2025-11-03,Café,-3.50,EUR,food\n"
        "A-2,2025-11-04,Shop,-20,USD,\nA-3,2025-11-05,Ann,100.00,EUR,income\n",
        {Meaning.ID: "Transaction ID", Meaning.MERCHANT: "Payee", Meaning.CATEGORY: "Category"},
        [("2025-11-03", "-3.50", "EUR"), ("2025-11-04", "-20.00", "USD"), ("2025-11-05", "100.00", "EUR")],
        encoding="utf-8-sig",
        expected={"encoding": "utf-8-sig", "currency": "EUR", "sign": Sign.ACCOUNT},
        tells_sign=False,
    ),
    Style(
        "Accountants: negatives in brackets, month names, two dates and a balance: the booked one counts",
        "Trans Date,Post Date,Narrative,Amount,Balance\n01-Nov-2025,03-Nov-2025,COFFEE,(4.00),96.00\n"
        "05-Nov-2025,05-Nov-2025,REFUND,10.00,106.00\n",
        {Meaning.DATE: "Post Date", Meaning.DESCRIPTION: "Narrative", Meaning.BALANCE: "Balance"},
        [("2025-11-03", "-4.00", "USD"), ("2025-11-05", "10.00", "USD")],
        expected={"date_format": "%d-%b-%Y", "sign": Sign.ACCOUNT},
    ),
    Style(
        "Mainframe: tabs, trailing minus, compact dates",
        "DATE\tDETAILS\tVALUE\n20251103\tATM\t60.00-\n20251104\tSALARY\t1,000.00\n",
        {Meaning.DESCRIPTION: "DETAILS", Meaning.AMOUNT: "VALUE"},
        [("2025-11-03", "-60.00", "USD"), ("2025-11-04", "1000.00", "USD")],
        expected={"delimiter": "\t", "date_format": "%Y%m%d"},
        tells_sign=False,
    ),
    Style(
        "Unsigned amounts with a column of words beside them",
        "Date,Description,Transaction Type,Amount\n2025-11-03,ATM,Debit,60.00\n2025-11-04,SALARY,Credit,1000.00\n",
        {Meaning.DIRECTION: "Transaction Type", Meaning.AMOUNT: "Amount"},
        [("2025-11-03", "-60.00", "USD"), ("2025-11-04", "1000.00", "USD")],
    ),
    Style(
        "Dutch: Af and Bij, decimal comma in quotation marks under a comma",
        '"Datum","Naam / Omschrijving","Rekening","Af Bij","Bedrag (EUR)","Mededelingen"\n'
        '"20251103","Bakker","NL00BANK0123","Af","4,80","pas 01"\n"20251104","Werk","NL00BANK0123","Bij","2500,00",""',
        {
            Meaning.MERCHANT: "Naam / Omschrijving",
            Meaning.DIRECTION: "Af Bij",
            Meaning.DESCRIPTION: "Mededelingen",
            Meaning.ACCOUNT: "Rekening",
        },
        [("2025-11-03", "-4.80", "EUR"), ("2025-11-04", "2500.00", "EUR")],
        expected={"decimal_mark": ",", "delimiter": ","},
    ),
    Style(
        "A running balance says that purchases are positive, whichever way the file goes",
        "Date,Details,Amount,Balance\n2025-11-05,C,10.00,70.00\n2025-11-04,B,20.00,80.00\n2025-11-03,A,5.00,100.00\n",
        {Meaning.BALANCE: "Balance"},
        [("2025-11-03", "-5.00", "USD"), ("2025-11-04", "-20.00", "USD"), ("2025-11-05", "-10.00", "USD")],
        expected={"sign": Sign.REVERSED},
    ),
    Style(
        "UTF-16 with instants: the zone in the file makes them days in UTC",
        "Date;Payee;Amount\n2025-11-03T23:30:00-0600;Bar;-9.00\n2025-11-05T10:00:00-0600;Job;90.00\n",
        {Meaning.MERCHANT: "Payee"},
        [("", "-9.00", "USD"), ("", "90.00", "USD")],
        encoding="utf-16",
        expected={"encoding": "utf-16", "date_format": "%Y-%m-%dT%H:%M:%S%z"},
        tells_sign=False,
    ),
]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_a_banks_style_is_guessed_and_read(style: Style) -> None:
    found = guess(style.text.encode(style.encoding), Hints())
    assert {each: found.mapping.columns.of(each) for each in style.columns} == {
        meaning: (name,) for meaning, name in style.columns.items()
    }
    assert {name: getattr(found.mapping, name) for name in style.expected} == style.expected
    assert ["--sign" in doubt for doubt in found.doubts] == ([] if style.tells_sign else [True])
    reading = read(style.text.encode(style.encoding))
    assert (posted(reading), list(reading.refused)) == (style.rows, [])


def test_without_a_merchant_column_the_description_is_the_merchant_that_alerts_look_at() -> None:
    [fact] = transactions(read(b"Date,Description,Amount\n2025-11-03,CORNER SHOP,-1.00\n"))
    assert (fact.merchant, fact.description) == ("CORNER SHOP", "CORNER SHOP")


def doubts_of(text: str, **hints: object) -> Guess:
    """The guess for a text."""
    return guess(text.encode(), read_hints(hints))


def test_dates_that_could_be_read_both_ways_are_doubtful_until_something_tells_them_apart() -> None:
    ambiguous = "Date,Description,Amount\n01/02/2025,A,-1.00\n02/03/2025,B,1.00\n"
    [doubt] = doubts_of(ambiguous, sign="account").doubts
    assert "--date-format '%m/%d/%Y' or '%d/%m/%Y'" in doubt
    assert doubts_of(ambiguous, sign="account", date_format="%d/%m/%Y").doubts == ()
    in_order = (
        "Date,Description,Amount\n10/01/2025,A,-1.00\n02/02/2025,B,1.00\n"  # month first would go backwards and on
    )
    told = doubts_of(in_order + "03/02/2025,C,1.00\n", sign="account")
    assert (told.mapping.date_format, told.doubts) == ("%d/%m/%Y", ())
    pounds = doubts_of(ambiguous.replace("Amount", "Amount (GBP)"), sign="account")
    assert (pounds.mapping.date_format, pounds.doubts) == ("%d/%m/%Y", ())


def test_amounts_that_are_all_positive_are_doubtful_where_no_card_and_no_balance_tells() -> None:
    text = "Date,Description,Amount\n2025-11-03,A,1.00\n2025-11-04,B,2.00\n"
    [doubt] = doubts_of(text).doubts
    assert "--sign" in doubt
    assert doubts_of(text, sign="account").doubts == ()
    assert doubts_of(text.replace("Description", "Card Member")).mapping.sign is Sign.REVERSED


@pytest.mark.parametrize(
    ("text", "out", "in_", "sign", "doubted"),
    [
        ("Text", 9, 1, Sign.ACCOUNT, False),
        ("Text", 9, 0, Sign.ACCOUNT, True),  # too few
        ("Text", 17, 3, Sign.ACCOUNT, True),  # too many of the other sign
        ("Text", 0, 20, Sign.REVERSED, True),  # a list of purchases, or of what came in
        ("Card Number", 1, 9, Sign.REVERSED, False),
        ("Card Number", 9, 1, Sign.ACCOUNT, False),
        ("Card Number", 0, 9, Sign.REVERSED, True),
        ("Card Number", 3, 17, Sign.REVERSED, True),
        ("Card Number", 11, 9, Sign.ACCOUNT, True),
    ],
)
def test_amounts_tell_their_sign_by_their_number_only_where_they_are_many_and_agree(
    text: str, out: int, in_: int, sign: Sign, doubted: bool
) -> None:
    rows = "2025-11-03,A,-1.00\n" * out + "2025-11-04,B,1.00\n" * in_
    found = doubts_of(f"Date,{text},Amount\n{rows}")
    assert (found.mapping.sign, ["--sign" in doubt for doubt in found.doubts]) == (sign, [True] * doubted)


def test_amounts_that_say_their_side_themselves_leave_no_sign_in_doubt() -> None:
    assert doubts_of("Date,Text,Amount\n2025-11-03,A,1.00 DR\n2025-11-04,B,2.00 CR\n2025-11-05,C,0.00\n").doubts == ()


@pytest.mark.parametrize(
    ("amounts", "doubted"),
    [(("1.200", "-500"), True), (("-1.200 EUR",), True), (("1.200", "-5.50"), False), (("1200", "-500"), False)],
)
def test_whole_amounts_with_a_mark_before_three_digits_are_doubtful(amounts: tuple[str, ...], doubted: bool) -> None:
    text = "Date,Text,Amount\n" + "".join(f"2025-11-03,A,{amount}\n" for amount in amounts)
    assert ["--decimal-mark" in doubt for doubt in doubts_of(text, sign="account").doubts] == [True] * doubted
    assert doubts_of(text, sign="account", decimal_mark=",").doubts == ()


def test_two_exports_that_overlap_take_their_ids_from_the_same_column() -> None:
    """An id that two rows share, and rows without one, once made the second file be read by hashes."""
    head, shared = "Transaction ID,Date,Text,Amount\n", "T-2,2025-11-04,B,-2.00\n"
    first = transactions(read(f"{head}T-1,2025-11-03,A,-1.00\n{shared}".encode()))
    later = read(f"{head}{shared}T-3,2025-11-05,C,-3.00\nT-3,2025-11-05,D,-4.00\n,2025-11-06,E,-5.00\n".encode())
    assert {fact.description: fact.id for fact in transactions(later)}["B"] == first[1].id
    assert [(each.line, each.field) for each in later.refused] == [(4, "id")]
    assert [fact.description for fact in transactions(later)] == ["B", "C", "E"]


def test_the_id_that_one_of_very_many_rows_has_is_taken() -> None:
    rows = [f",2025-11-{1 + number // 200:02},row {number},-1.00\n" for number in range(5_000)]
    rows[4_501] = f"T-1{rows[4_501]}"
    ids = {
        row.description: row.id
        for row in transactions(read(f"Transaction ID,Date,Text,Amount\n{''.join(rows)}".encode()))
    }
    assert ids["row 4501"] == id_within(11, "T-1")


def test_a_whole_number_is_the_id_only_where_a_person_says_which_column_it_is() -> None:
    """It may be a running number, which another account has too."""
    content = b"Transaction ID,Date,Text,Amount\n1,2025-11-03,A,-1.00\n"

    def id_of(account: int, hints: Hints) -> int:
        mapping = guess(content, hints).mapping
        [row] = read_csv(content, mapping, Whose(user=1, account=account), Repeats.PURCHASES, lambda _: None).rows
        assert isinstance(row.fact, fact_pb2.Transaction)
        return row.fact.id

    said = read_hints({"columns": {"id": "Transaction ID"}})
    assert id_of(11, Hints()) == id_of(11, Hints()) != id_of(12, Hints())
    assert id_of(11, said) == id_of(12, said) == 1
    written = write_toml(guess(content, Hints()).mapping)
    assert "said here, a whole number is the id as it is" in written
    assert id_of(11, read_toml(written)) == 1


@pytest.mark.parametrize("heading", ["Transaction No", "Entry Reference"])
def test_a_running_number_is_not_taken_for_an_id(heading: str) -> None:
    found = guess(f"{heading},Date,Text,Amount\n1,2025-11-03,A,-1.00\n".encode(), Hints())
    assert found.mapping.columns.of(Meaning.ID) == ()


def test_what_is_said_is_not_guessed() -> None:
    text = "Date,Booked,Text,Amount,Fee\n2025-11-03,2025-11-04,A,-1.00,-0.10\n"
    hints = read_hints({"columns": {"date": "Booked", "amount": "Fee", "description": ""}, "currency": "CHF"})
    mapping = guess(text.encode(), hints).mapping
    assert mapping.columns.of(Meaning.DATE) == ("Booked",)
    assert mapping.columns.of(Meaning.AMOUNT) == ("Fee",)
    assert (mapping.columns.of(Meaning.DESCRIPTION), mapping.currency) == ((), "CHF")


def test_a_mapping_survives_its_file_and_options_go_before_it() -> None:
    content = STYLES[1].text.encode("latin-1")
    mapping = guess(content, Hints()).mapping
    assert guess(content, read_toml(write_toml(mapping))).mapping == mapping
    columns = mapping.columns.model_copy(update={"id": ('a"b\\',), "amount": ("x", "y")})
    tricky = read_toml(write_toml(mapping.model_copy(update={"delimiter": "\t", "columns": columns})))
    assert (tricky.delimiter, tricky.columns.id, tricky.columns.amount) == ("\t", ('a"b\\',), ("x", "y"))
    hints = read_hints({"sign": "reversed", "columns": {"id": "Nr"}}).over(read_toml(write_toml(mapping)))
    assert (hints.sign, hints.columns.id, hints.columns.amount) == (Sign.REVERSED, ("Nr",), ("Betrag",))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("columns = 3", "columns"),
        ('colour = "red"', "colour"),
        ('encoding = "klingon"', "klingon is no encoding"),
        ('date_format = "%d/%m"', "does not tell year, month and day"),
        ('date_format = "%d/%m/%Y %Q"', "is no format of strptime"),
        ('time_zone = "Mars/Base"', "is no IANA time zone"),
        ('time_zone = "../../etc/passwd"', "is no IANA time zone"),
        ('currency = "DOLLARS"', "is no ISO 4217 currency"),
        ('decimal_mark = "x"', "decimal_mark"),
        ('delimiter = ""', "delimiter"),
        ("sign = [", "at end of document"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_with_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(MappingError, match=complaint):
        read_toml(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n1,2\n", r"no row heads a date and an amount .* a \| b"),
        ("Date,Amount\nsoon,1.00\nlater,2.00\n", r"in no format that is known here \(soon, later\)"),
        ("Date,Description\n2025-11-03,A\n", "no row heads a date and an amount"),
    ],
)
def test_a_file_nothing_can_be_guessed_of_says_why(text: str, complaint: str) -> None:
    with pytest.raises((Unreadable, MappingError), match=complaint):
        guess(text.encode(), Hints())


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_text_ends_in_another_error(text: str) -> None:
    content = ("Date,Description,Amount,Balance\n2025-11-03,A,-1.00,5.00\n" + text).encode()
    with suppress(Unreadable, MappingError):
        reading = read(content)
        assert reading.count == len(transactions(reading)) + len(reading.refused)


def test_the_real_checking_account_is_guessed_right_without_options(bank_data: Path) -> None:
    content = open_source(bank_data / "sshc_checking" / "transactions.csv").content
    found = guess(content, Hints())
    columns = {meaning: found.mapping.columns.of(meaning) for meaning in Meaning if found.mapping.columns.of(meaning)}
    assert columns == {
        Meaning.DATE: ("date",),
        Meaning.DESCRIPTION: ("description",),
        Meaning.MERCHANT: ("description",),
        Meaning.AMOUNT: ("amount",),
        Meaning.BALANCE: ("balance_after",),
        Meaning.CATEGORY: ("category",),
    }
    assert (found.mapping.sign, found.mapping.date_format, found.mapping.currency) == (Sign.ACCOUNT, "%Y-%m-%d", "USD")
    assert found.doubts == ()
    reading = read(content)
    rows, account = transactions(reading), reading.rows[0].fact
    assert (reading.count, len(rows), list(reading.refused), reading.repeats) == (3881, 3881, [], 0)
    assert isinstance(account, fact_pb2.Account)
    assert (account.balance, rows[-1].balance_after) == ("0.00", "23633.79")


def test_the_real_card_purchases_are_guessed_right_although_their_columns_change(bank_data: Path) -> None:
    content = open_source(bank_data / "birmingham_pcard" / "purchase_card_2014_2018.csv.gz").content
    found = guess(content, Hints())
    assert found.doubts == ()
    assert found.mapping.columns.of(Meaning.AMOUNT) == ("BILLING GROSS AMT", "ORIGINAL GROSS AMT")
    assert found.mapping.columns.of(Meaning.ACCOUNT) == ("CARD NUMBER",)
    assert (found.mapping.sign, found.mapping.currency) == (Sign.REVERSED, "GBP")
    reading = read_csv(content, found.mapping, Whose(user=1), Repeats.SAME, lambda _: None)
    assert (reading.count, len(reading.refused), len(reading.rows) + reading.left_out) == (181_335, 0, 181_335)
    assert reading.left_out >= 4_945, "those that are alike in every column but the file they were published in"
    rows = transactions(reading)
    assert len({fact.id for fact in rows}) == len(rows)
    assert len({fact.account_id for fact in rows}) == 1_523
    assert sum(fact.amount.startswith("-") for fact in rows) > 0.9 * len(rows), "purchases are money out"
    abroad = [(fact.amount, fact.currency) for fact in rows if fact.merchant == "liveperson inc"]
    assert ("-4972.94", "GBP") in abroad, "what was billed, not 5921.25 USD"
