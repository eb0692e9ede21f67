"""Reads a bank's CSV file by a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing import headings, texts
from tocsin_cli.importing.amounts import negated, read_amount, without_sign
from tocsin_cli.importing.days import DayReader, read_day
from tocsin_cli.importing.identity import Repeats, bank_id, id_within, identified, stable_id
from tocsin_cli.importing.mapping import Mapping, Meaning, Sign
from tocsin_cli.importing.opening import Unreadable, text_of
from tocsin_cli.importing.ordering import Dated, oldest_first
from tocsin_cli.importing.records import Record, numbered
from tocsin_cli.importing.rows import Reading, Refusal, Row, Wrong

#: Told how many lines were read, now and then.
OnProgress = Callable[[int], None]
_TOLD_EVERY = 5_000
_MOST_PREAMBLE = 50


@dataclass(frozen=True)
class Whose:
    """Whose the rows are, where the file does not say: the user, the account, and the account's name."""

    user: int | None = None
    account: int | None = None
    account_name: str = ""


def read_csv(content: bytes, mapping: Mapping, whose: Whose, repeats: Repeats, on_progress: OnProgress) -> Reading:
    """The file's transactions, oldest first, and the accounts that its balances are of. Raises Unreadable."""
    records = numbered(text_of(content, mapping.encoding), mapping.delimiter)
    heading = _heading(records, mapping)
    reader = _RowReader(heading, mapping, whose)
    dated: list[Dated] = []
    refused: list[Refusal] = []
    for line, record in records:
        if record == heading:  # exports that were joined have more than one
            continue
        try:
            if isinstance(record, Wrong):
                raise record
            dated.append(reader.read(line, record))
        except Wrong as wrong:
            refused.append(wrong.at(line))
        if line % _TOLD_EVERY == 0:
            on_progress(line)
    count = len(dated) + len(refused)
    done = identified(((each.line, each.fact) for each in oldest_first(dated)), repeats)
    accounts = _accounts(done.rows, reader.account_names, whose) if mapping.columns.of(Meaning.BALANCE) else []
    return Reading(count, [*accounts, *done.rows], [*refused, *done.refused], done.repeats, done.left_out)


def first_rows(heading: Sequence[str], records: Sequence[Sequence[str]], mapping: Mapping) -> list[Dated | Wrong]:
    """How these records read under the heading, whoever's they are."""
    reader = _RowReader(heading, mapping, Whose(user=1, account=1))

    def read(record: Sequence[str]) -> Dated | Wrong:
        try:
            return reader.read(0, record)
        except Wrong as wrong:
            return wrong

    return [read(record) for record in records]


def _heading(records: Iterator[tuple[int, Record | Wrong]], mapping: Mapping) -> list[str]:
    """The row with all the headings that the mapping names. Raises Unreadable with those that are missing."""
    wanted = {name for meaning in Meaning for name in mapping.columns.of(meaning)}
    closest: list[str] = []
    for line, record in records:
        if not isinstance(record, Wrong):
            cells = [cell.strip() for cell in record]
            if wanted <= set(cells):
                return record
            closest = max(closest, cells, key=lambda each: len(wanted & set(each)))
        if line > _MOST_PREAMBLE:
            break
    missing = ", ".join(sorted(wanted - set(closest)))
    raise Unreadable(f"no row heads the columns {missing}; there are {', '.join(filter(None, closest)) or 'none'}")


@dataclass
class _RowReader:
    """Reads records under one heading. `account_names` learns how the file names each account."""

    heading: Sequence[str]
    mapping: Mapping
    whose: Whose
    account_names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cells = [cell.strip() for cell in self.heading]
        columns = self.mapping.columns
        self._places = {each: tuple(cells.index(name) for name in columns.of(each)) for each in Meaning}
        self._names = {each: " or ".join(columns.of(each)) or each.value for each in Meaning}
        self._days = DayReader(self.mapping.date_format, self.mapping.time_zone)
        self._width = len(cells)
        self._account_ids: dict[str, int] = {}
        self._has_amount = bool(self._places[Meaning.AMOUNT])

    def read(self, line: int, record: Sequence[str]) -> Dated:
        """The transaction in a record, without an id unless the file has the bank's. Raises Wrong."""
        if len(record) != self._width:
            record = self._fitted(record)
        moment = read_day(self._days, self._cell(record, Meaning.DATE), self._names[Meaning.DATE])
        account = self._account(record)
        fact = fact_pb2.Transaction(
            user_id=self._user(record),
            account_id=account,
            amount=self._amount(record) if self._has_amount else self._debit_or_credit(record),
            currency=self._cell(record, Meaning.CURRENCY).upper() or self.mapping.currency,
            merchant=texts.clean(self._cell(record, Meaning.MERCHANT), texts.MERCHANT),
            description=texts.clean(self._cell(record, Meaning.DESCRIPTION), texts.DESCRIPTION),
            category=texts.clean(self._cell(record, Meaning.CATEGORY), texts.CATEGORY),
            balance_after=self._number(record, Meaning.BALANCE),
        )
        if moment.instant is None:
            fact.posted_on = moment.day
        else:
            fact.posted_at.FromDatetime(moment.instant)
        if own := self._cell(record, Meaning.ID):
            fact.id = bank_id(account, own) if self.mapping.id_is_said else id_within(account, own)
        return Dated(line, moment.order, fact)

    def _fitted(self, record: Sequence[str]) -> Sequence[str]:
        """Empty cells after the last heading are no fault; anything else is. Raises Wrong."""
        if len(record) > self._width and not any(record[self._width :]):
            return record
        why = f"has {len(record)} columns where the heading has {self._width}"
        if any("\n" in cell for cell in record):
            why += "; a quotation mark may be open"
        raise Wrong("", texts.short(self.mapping.delimiter.join(record)), why)

    def _cell(self, record: Sequence[str], meaning: Meaning) -> str:
        """What stands in the first of a meaning's columns that is not empty."""
        for place in self._places[meaning]:
            if text := record[place].strip():
                return text
        return ""

    def _number(self, record: Sequence[str], meaning: Meaning, *, reversed_: bool = False) -> str:
        """A decimal, empty where the cell is. Raises Wrong."""
        text = self._cell(record, meaning)
        if not text:
            return ""
        amount = read_amount(text, self.mapping.decimal_mark, reversed_=reversed_)
        if amount is None:
            example = "1,234.50" if self.mapping.decimal_mark == "." else "1.234,50"
            why = f"is no amount such as {example} with at most 14 digits and 4 decimals"
            raise Wrong(self._names[meaning], texts.short(text), why)
        return amount

    def _amount(self, record: Sequence[str]) -> str:
        """The amount as the account sees it. Raises Wrong."""
        amount = self._number(record, Meaning.AMOUNT, reversed_=self.mapping.sign is Sign.REVERSED)
        if not amount:
            raise Wrong(self._names[Meaning.AMOUNT], "", "is empty")
        if not self._places[Meaning.DIRECTION]:
            return amount
        word = self._cell(record, Meaning.DIRECTION)
        if word.casefold() in headings.MONEY_OUT:
            return negated(without_sign(amount))
        if word.casefold() in headings.MONEY_IN:
            return without_sign(amount)
        raise Wrong(self._names[Meaning.DIRECTION], texts.short(word), "says neither debit nor credit")

    def _debit_or_credit(self, record: Sequence[str]) -> str:
        """Debit goes out, whichever sign it has; credit comes in. One of them is empty or zero. Raises Wrong."""
        debit, credit = self._number(record, Meaning.DEBIT), self._number(record, Meaning.CREDIT)
        names = f"{self._names[Meaning.DEBIT]}, {self._names[Meaning.CREDIT]}"
        if not debit and not credit:
            raise Wrong(names, "", "both are empty")
        if debit and debit != "0.00":
            if credit and credit != "0.00":
                raise Wrong(names, f"{debit}, {credit}", "both are filled")
            return negated(without_sign(debit))
        return credit or debit

    def _account(self, record: Sequence[str]) -> int:
        if self.whose.account is not None:
            return self.whose.account
        text = self._cell(record, Meaning.ACCOUNT)
        if not text:
            raise Wrong(self._names[Meaning.ACCOUNT], "", "is empty")
        if text not in self._account_ids:
            self._account_ids[text] = stable_id("account", text)
            self.account_names[self._account_ids[text]] = texts.clean(f"Account ending {text[-4:]}", texts.NAME)
        return self._account_ids[text]

    def _user(self, record: Sequence[str]) -> int:
        if self.whose.user is not None:
            return self.whose.user
        text = self._cell(record, Meaning.USER)
        if not text:
            raise Wrong(self._names[Meaning.USER], "", "is empty")
        return bank_id(0, text)


def _accounts(rows: Sequence[Row], names: dict[int, str], whose: Whose) -> list[Row]:
    """Accounts whose balance the file knows, as they were before its first row.

    They are as of 1970, so that one which is known already stays as it is, and every row's balance moves a new one.
    """
    opened: dict[int, Row] = {}
    for row in rows:
        fact = row.fact
        if not isinstance(fact, fact_pb2.Transaction) or not fact.balance_after or fact.account_id in opened:
            continue
        account = fact_pb2.Account(
            id=fact.account_id,
            user_id=fact.user_id,
            name=whose.account_name or names.get(fact.account_id, f"Account {fact.account_id}"),
            balance=f"{Decimal(fact.balance_after) - Decimal(fact.amount):f}",
            currency=fact.currency,
            as_of=Timestamp(seconds=0),
        )
        opened[fact.account_id] = Row(row.line, account, implied=True)
    return list(opened.values())
