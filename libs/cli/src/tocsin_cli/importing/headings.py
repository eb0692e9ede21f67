"""The words banks head their columns with, the likeliest first, in plain form (lower case, letters and digits)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from tocsin_cli.importing.mapping import Meaning

#: When it was made; a file with a running balance is read by the day it was booked, or the balance would jump.
_MADE = ("transaction date", "trans date", "txn date", "purchase date", "date of transaction", "started date")
_DATE = (
    "date",
    "datum",
    "fecha",
    "data",
    "date operation",
    "date de l operation",
    "fecha operacion",
    "data operazione",
)
_BOOKED = (
    *("posting date", "posted date", "post date", "posted on", "posted", "booking date", "date posted"),
    *("buchungstag", "buchungsdatum", "buchung", "boekdatum", "date comptable", "data contabile", "completed date"),
    *("value date", "valutadatum", "wertstellung", "date valeur", "fecha valor", "data valuta", "rentedatum"),
)
DATES_WITH_BALANCE = (*_DATE, *_BOOKED, *_MADE)

WORDS: Mapping[Meaning, Sequence[str]] = {
    Meaning.DATE: (*_MADE, *_DATE, *_BOOKED),
    Meaning.MERCHANT: (
        *("merchant", "merchant name", "payee", "payee name", "counterparty", "counter party", "counterparty name"),
        *("name", "beneficiary", "beneficiary name", "auftraggeber empfanger", "beguenstigter zahlungspflichtiger"),
        *("begunstigter zahlungspflichtiger", "name zahlungsbeteiligter", "zahlungsempfanger", "empfanger"),
        *("naam omschrijving", "naam tegenpartij", "tegenpartij", "contrepartie", "beneficiario", "comercio"),
    ),
    Meaning.DESCRIPTION: (
        *("description", "transaction description", "details", "transaction details", "narrative", "particulars"),
        *("memo", "original description", "statement description", "reference", "notes", "text", "remarks"),
        *("verwendungszweck", "buchungstext", "libelle", "libelle operation", "concepto", "descripcion"),
        *("omschrijving", "mededelingen", "descrizione", "causale", "descricao", "opis", "beskrivelse", "tekst"),
    ),
    Meaning.AMOUNT: (
        *("amount", "transaction amount", "value", "amt", "net amount", "betrag", "umsatz", "montant", "importe"),
        *("bedrag", "importo", "valor", "kwota", "belop", "beloeb", "summa"),
    ),
    Meaning.DEBIT: (
        *("debit", "debit amount", "debits", "withdrawal", "withdrawals", "withdrawal amount", "withdrawal amt"),
        *("paid out", "money out", "out", "debit amt", "payments", "charge", "soll", "cargo", "addebito", "uscite"),
    ),
    Meaning.CREDIT: (
        *("credit", "credit amount", "credits", "deposit", "deposits", "deposit amount", "deposit amt"),
        *("paid in", "money in", "in", "credit amt", "receipts", "haben", "abono", "accredito", "entrate"),
    ),
    Meaning.DIRECTION: (
        *("debit credit", "credit debit", "credit debit indicator", "dr cr", "cr dr", "direction", "transaction type"),
        *("type", "af bij", "soll haben", "sens"),
    ),
    Meaning.CURRENCY: ("currency", "currency code", "ccy", "wahrung", "devise", "divisa", "moneda", "valuta", "waluta"),
    Meaning.BALANCE: (
        *("balance", "balance after", "running balance", "running bal", "account balance", "closing balance"),
        *("ledger balance", "saldo", "saldo nach buchung", "kontostand", "solde", "saldo na mutatie", "saldo po"),
    ),
    Meaning.CATEGORY: ("category", "categories", "kategorie", "categorie", "categoria", "spending category"),
    Meaning.ACCOUNT: (
        *("account number", "account no", "account id", "account", "card number", "card no", "card", "iban"),
        *("auftragskonto", "kontonummer", "konto", "numero de compte", "compte", "cuenta", "rekening"),
        *("rekeningnummer", "conto", "product account"),
    ),
    Meaning.ID: ("transaction id", "txn id", "trans id", "fitid", "transaction reference number"),
}

#: One of these in a longer heading makes the column an amount or a currency (`BILLING GROSS AMT`, `ORIGINAL CUR`) ...
PARTS: Mapping[Meaning, frozenset[str]] = {
    Meaning.AMOUNT: frozenset(("amount", "amt", "betrag", "montant", "importe", "bedrag", "importo")),
    Meaning.CURRENCY: frozenset(("currency", "ccy", "cur", "wahrung", "devise", "divisa")),
    Meaning.ACCOUNT: frozenset(("card",)),
}
#: ... unless one of these is in it too.
NEVER = frozenset(
    ("tax", "vat", "fee", "fees", "charge", "balance", "limit", "count", "rate", "member", "type", "holder", "saldo")
)
#: What is billed is the account's, what it was originally may be in another currency.
BILLED, ORIGINAL = (
    frozenset(("billing", "billed", "settlement", "booked")),
    frozenset(("original", "foreign", "source")),
)
CARD_WORDS = frozenset(("card", "karte", "carte", "kreditkarte", "kaart", "tarjeta", "carta"))
#: Words of a direction column.
MONEY_OUT = frozenset(("debit", "dr", "d", "out", "withdrawal", "dbit", "af", "s", "soll", "paid out", "-"))
MONEY_IN = frozenset(("credit", "cr", "c", "in", "deposit", "crdt", "bij", "h", "haben", "paid in", "+"))
_APPENDED = re.compile(r"\([^)]*\)|\[[^\]]*\]")


def plain(heading: str) -> str:
    """A heading without case, accents, punctuation and what stands in brackets: `Debit ($)` is `debit`."""
    kept = _APPENDED.sub(" ", heading)
    letters = unicodedata.normalize("NFKD", kept if kept.strip() else heading).casefold()
    return " ".join(
        re.sub(r"[^a-z0-9]", " ", "".join(each for each in letters if not unicodedata.combining(each))).split()
    )


def words_of(heading: str) -> frozenset[str]:
    """The words of a heading in plain form."""
    return frozenset(plain(heading).split())


def rank(meaning: Meaning, heading: str, words: Sequence[str]) -> int | None:
    """How likely a heading means it, 0 the likeliest; None where nothing says so. `words` are the meaning's own."""
    found = plain(heading)
    if found in words:
        return words.index(found)
    parts = words_of(heading)
    if not parts & PARTS.get(meaning, frozenset()) or parts & NEVER:
        return None
    return len(words) + (0 if parts & BILLED else 2 if parts & ORIGINAL else 1)
