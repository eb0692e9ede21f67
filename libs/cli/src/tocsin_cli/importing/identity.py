"""Ids that are the same in every run, so that importing a file again changes nothing; and exact repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing.rows import Refusal, Row


class Repeats(StrEnum):
    """What rows are that are alike in everything that is read."""

    PURCHASES = "purchases"
    SAME = "same"


def stable_id(*parts: object) -> int:
    """A positive 63-bit id, the same for the same parts wherever and whenever it is made."""
    text = "\x1f".join(str(part) for part in parts)
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=b"tocsin-import").digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def bank_id(account_id: int, text: str) -> int:
    """An id from the bank's: a whole number is the id, anything else is hashed with its account."""
    if len(text) < 20 and text.isascii() and text.isdigit() and 0 < int(text) < 2**63:
        return int(text)
    return id_within(account_id, text)


def id_within(account_id: int, text: str) -> int:
    """A transaction's id from one that may be a running number of its account, which other accounts have too."""
    return stable_id("id", account_id, text)


@dataclass
class Identified:
    """Transactions with their ids. `repeats` rows are like an earlier one, `left_out` of them are not in `rows`."""

    rows: list[Row] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    repeats: int = 0
    left_out: int = 0


def identified(rows: Iterable[tuple[int, fact_pb2.Transaction]], repeats: Repeats) -> Identified:
    """Give each transaction an id, unless it has the bank's own. The rows come oldest first.

    Without one it is hashed from account, date, amount and texts, and from how many like it came before that day.
    """
    done = Identified()
    by_id: dict[int, Row] = {}
    counts: Counter[tuple[object, ...]] = Counter()
    seen: set[tuple[object, ...]] = set()
    for line, fact in rows:
        if fact.id:
            _take_bank_id(done, by_id, Row(line, fact))
            continue
        like = _likeness(fact)
        whole = (*like, fact.merchant, fact.balance_after, fact.category, fact.user_id)
        is_repeat = whole in seen
        seen.add(whole)
        done.repeats += is_repeat
        if is_repeat and repeats is Repeats.SAME:
            done.left_out += 1
            continue
        counts[like] += 1
        fact.id = stable_id("row", *like, counts[like])
        done.rows.append(Row(line, fact))
    return done


def _likeness(fact: fact_pb2.Transaction) -> tuple[object, ...]:
    posted = fact.posted_on or f"{fact.posted_at.seconds}.{fact.posted_at.nanos}"
    text = fact.description or fact.merchant
    other = fact.merchant if fact.merchant != text else ""  # the same id where one column is read for both, or for one
    return (fact.account_id, posted, fact.amount, fact.currency, text, other)


def _take_bank_id(done: Identified, by_id: dict[int, Row], row: Row) -> None:
    """The bank's id names one transaction: the same again is a repeat, another with it is refused."""
    first = by_id.setdefault(row.fact.id, row) if isinstance(row.fact, fact_pb2.Transaction) else row
    if first is row:
        done.rows.append(row)
    elif first.fact == row.fact:
        done.repeats += 1
        done.left_out += 1
    else:
        why = f"line {first.line} has this id and is another transaction"
        done.refused.append(Refusal(row.line, "id", "", why))
