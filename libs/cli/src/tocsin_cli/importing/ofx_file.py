"""Reads OFX and QFX statements: ofxtools parses header, SGML and XML; what a transaction needs is taken from its tree.

ofxtools can also convert a whole statement by the specification, but then one bad tag of one transaction (and many
banks' own tags) refuses the file. Here a row that cannot be read is refused alone, by its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, unescape

from ofxtools.header import OFXHeaderError
from ofxtools.Parser import OFXTree, ParseError
from ofxtools.Types import DateTime, OFXSpecError

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing import texts
from tocsin_cli.importing.amounts import plain
from tocsin_cli.importing.csv_file import Whose
from tocsin_cli.importing.days import Moment, moment_at, moment_on
from tocsin_cli.importing.identity import Repeats, identified, stable_id
from tocsin_cli.importing.opening import Unreadable, encoding_of
from tocsin_cli.importing.ordering import Dated, oldest_first
from tocsin_cli.importing.rows import Reading, Refusal, Row, Wrong

#: What a file gets that begins at its first tag, as some banks' do.
_HEADER = (
    b"OFXHEADER:100\r\nDATA:OFXSGML\r\nVERSION:102\r\nSECURITY:NONE\r\nENCODING:UNICODE\r\nCHARSET:%s\r\n"
    b"COMPRESSION:NONE\r\nOLDFILEUID:NONE\r\nNEWFILEUID:NONE\r\n\r\n"
)
_CHARSETS = {"utf-8": b"NONE", "utf-8-sig": b"NONE", "cp1252": b"1252", "latin-1": b"ISO-8859-1"}
_CDATA = re.compile(rb"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
#: A statement of a bank, a card or an investment account, with the tag that says whose it is.
_STATEMENTS = {"STMTRS": "BANKACCTFROM", "CCSTMTRS": "CCACCTFROM", "INVSTMTRS": "INVACCTFROM"}
_ROWS = ("STMTTRN", "LEDGERBAL")
_LOCATED = re.compile(f"<({'|'.join(_ROWS)})>")
_NUMBER = re.compile(r"(?P<sign>[+-]?)(?=[.,]?\d)(?P<whole>\d*)([.,](?P<part>\d*))?", re.ASCII)
_DAY_ONLY = re.compile(r"(\d{8})(0{6}(\.0+)?)?(\[.*\])?")


def read_ofx(content: bytes, whose: Whose, currency: str | None, repeats: Repeats) -> Reading:
    """The file's accounts with their ledger balances, and its transactions, oldest first. Raises Unreadable.

    `currency` is taken where a statement names none.
    """
    root = _tree(content)
    _note_lines(root, content)
    statements = [_Statement(each, _account_tag(each), currency) for each in root.iter() if each.tag in _STATEMENTS]
    if not statements:
        raise Unreadable("it holds no statement of a bank, card or investment account")
    if whose.account is not None and len({each.account_key for each in statements}) > 1:
        raise Unreadable("it holds statements of several accounts: leave --account out")
    accounts: list[Row] = []
    dated: list[Dated] = []
    refused: list[Refusal] = []
    for statement in statements:
        statement.read(whose, accounts, dated, refused)
    count = len(accounts) + len(dated) + len(refused)
    done = identified(((each.line, each.fact) for each in oldest_first(dated)), repeats)
    return Reading(count, [*accounts, *done.rows], [*refused, *done.refused], done.repeats, done.left_out)


def _tree(content: bytes) -> Element:
    """The parsed tree. Raises Unreadable."""
    if b"</OFX>" not in content:
        raise Unreadable("it ends before </OFX>: a part of it is missing")
    text = _CDATA.sub(lambda found: escape(found[1].decode("latin-1")).encode("latin-1"), content.strip())
    if text.removeprefix(b"\xef\xbb\xbf").startswith(b"<OFX>"):
        text = _HEADER % _CHARSETS.get(encoding_of(text), b"NONE") + text.removeprefix(b"\xef\xbb\xbf")
    try:
        return OFXTree().parse(BytesIO(text))
    except OFXHeaderError as error:
        raise Unreadable(f"its OFX header is not as it should be: {texts.short(str(error))}") from error
    except (ParseError, UnicodeError, ValueError, AssertionError, IndexError) as error:
        raise Unreadable(f"its OFX tags do not fit together: {texts.short(str(error))}") from error


def _note_lines(root: Element, content: bytes) -> None:
    """Note on each tag that is a row the line it stands on: the tree has them in the file's order."""
    text = content.decode("latin-1")
    found: dict[str, list[int]] = {tag: [] for tag in _ROWS}
    line, counted_to = 1, 0
    for each in _LOCATED.finditer(text):
        line += text.count("\n", counted_to, each.start())
        counted_to = each.start()
        found[each[1]].append(line)
    for tag, lines in found.items():
        for element, number in zip(root.iter(tag), lines, strict=False):
            element.set("line", str(number))


def _account_tag(statement: Element) -> Element:
    found = statement.find(_STATEMENTS[statement.tag])
    if found is None:
        raise Unreadable(f"a statement names no account: {_STATEMENTS[statement.tag]} is missing")
    return found


def _text(element: Element | None, path: str) -> str:
    """What stands in a tag, empty where it is missing or empty."""
    return unescape((element.findtext(path) or "") if element is not None else "", {"&nbsp;": " "}).strip()


@dataclass(frozen=True)
class _Statement:
    """One account's statement."""

    element: Element
    account: Element
    currency: str | None

    @property
    def account_key(self) -> tuple[str, str]:
        """Which account it is, by the bank's or broker's id and the account's."""
        number = _text(self.account, "ACCTID")
        if not number:
            raise Unreadable("a statement names no account: ACCTID is empty")
        return _text(self.account, "BANKID") or _text(self.account, "BROKERID"), number

    def read(self, whose: Whose, accounts: list[Row], dated: list[Dated], refused: list[Refusal]) -> None:
        """Read the statement into what is collected."""
        account_id = whose.account if whose.account is not None else stable_id("account", *self.account_key)
        for element in self.element.iter():
            if element.tag not in _ROWS:
                continue
            line = int(element.get("line", "0"))
            try:
                if element.tag == "LEDGERBAL":
                    accounts.append(Row(line, self._balance(element, account_id, whose)))
                else:
                    dated.append(self._transaction(line, element, account_id, whose))
            except Wrong as wrong:
                refused.append(wrong.at(line))

    def _balance(self, element: Element, account_id: int, whose: Whose) -> fact_pb2.Account:
        """The account with its ledger balance. Raises Wrong."""
        account = fact_pb2.Account(
            id=account_id,
            user_id=whose.user or 0,
            name=whose.account_name or self._name(),
            balance=_amount(element, "BALAMT"),
            currency=self._currency(element),
        )
        moment = _moment(element, "DTASOF")
        account.as_of.FromDatetime(moment.instant or datetime.fromisoformat(moment.day).replace(tzinfo=UTC))
        return account

    def _name(self) -> str:
        kind = _text(self.account, "ACCTTYPE").title() or {"CCSTMTRS": "Card"}.get(self.element.tag, "Account")
        return texts.clean(f"{kind} ending {self.account_key[1][-4:]}", texts.NAME)

    def _transaction(self, line: int, element: Element, account_id: int, whose: Whose) -> Dated:
        """A transaction. NAME is the merchant, MEMO the description. Raises Wrong."""
        amount, moment = _amount(element, "TRNAMT"), _moment(element, "DTPOSTED")
        fact = fact_pb2.Transaction(
            user_id=whose.user or 0,
            account_id=account_id,
            amount=amount,
            currency=self._currency(element),
            merchant=texts.clean(_text(element, "NAME") or _text(element, "PAYEE/NAME"), texts.MERCHANT),
            description=texts.clean(_text(element, "MEMO"), texts.DESCRIPTION),
        )
        if moment.instant is None:
            fact.posted_on = moment.day
        else:
            fact.posted_at.FromDatetime(moment.instant)
        if own := _text(element, "FITID"):
            fact.id = stable_id("fitid", account_id, own)
        return Dated(line, moment.order, fact)

    def _currency(self, element: Element) -> str:
        """The row's own (CURRENCY says what the amount is in, ORIGCURRENCY what it was), else the statement's."""
        found = _text(element, "CURRENCY/CURSYM") or _text(self.element, "CURDEF") or self.currency
        if not found:
            raise Wrong("CURDEF", "", "is empty and --currency is not given")
        return found.upper()


def _amount(element: Element, tag: str) -> str:
    """A decimal as OFX writes it, with a point or a comma (3.2.9.1 of OFX 2.2). Raises Wrong."""
    text = _text(element, tag)
    if not text:
        raise Wrong(tag, "", "is empty")
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise Wrong(tag, texts.short(text), "is no amount such as -1234.50")
    amount = plain(found["whole"], found["part"] or "", negative=found["sign"] == "-")
    if amount is None:
        raise Wrong(tag, texts.short(text), "has more than 14 digits or 4 decimals")
    return amount


def _moment(element: Element, tag: str) -> Moment:
    """A day where no time, or midnight, is told, else an instant (3.2.8.2 of OFX 2.2). Raises Wrong."""
    text = _text(element, tag)
    if not text:
        raise Wrong(tag, "", "is missing" if element.find(tag) is None else "is empty")
    try:
        if found := _DAY_ONLY.fullmatch(text):
            return moment_on(datetime.strptime(found[1], "%Y%m%d").date())  # noqa: DTZ007 a local day
        return moment_at(DateTime().convert(text))
    except (ValueError, OFXSpecError, OverflowError):
        raise Wrong(tag, texts.short(text), "is no date, or no day of the calendar") from None
