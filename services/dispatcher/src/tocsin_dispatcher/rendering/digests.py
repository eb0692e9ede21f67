"""A digest's firings in groups: which there are, how many, and what each of the shown ones says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tocsin_dispatcher.rendering.formats import instant, number
from tocsin_dispatcher.rendering.languages import Language, language_of
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.values import (
    AccountThresholdContext,
    AlertKind,
    Digest,
    DigestMember,
    FiringContext,
    InAppMessage,
    ThresholdDirection,
)

SHOWN_OF_A_GROUP = 10
"""Beyond that a digest only counts: mail programs cut an e-mail off at about 100 KB."""


class _Group(NamedTuple):
    """What firings are told under: by kind, low balances apart from high ones."""

    kind: AlertKind
    direction: ThresholdDirection | None


class _Words(NamedTuple):
    """A group's heading, and how so many of it are called. In English, to be translated."""

    heading: str
    one: str
    many: str


_LOW = _Group(AlertKind.ACCOUNT_THRESHOLD, ThresholdDirection.BELOW)
_HIGH = _Group(AlertKind.ACCOUNT_THRESHOLD, ThresholdDirection.ABOVE)
_WORDS: Mapping[_Group, _Words] = {
    _LOW: _Words("Low balance", "%(count)s low balance", "%(count)s low balance"),
    _HIGH: _Words("High balance", "%(count)s high balance", "%(count)s high balance"),
    _Group(AlertKind.TRANSACTION_LIMIT, None): _Words(
        "Large transactions", "%(count)s large transaction", "%(count)s large transactions"
    ),
    _Group(AlertKind.UPCOMING_BILL, None): _Words("Bills due", "%(count)s bill due", "%(count)s bills due"),
    _Group(AlertKind.SPENDING_TARGET, None): _Words("Budgets", "%(count)s budget", "%(count)s budgets"),
    _Group(AlertKind.MERCHANT_NAME, None): _Words("Transactions", "%(count)s transaction", "%(count)s transactions"),
    _Group(AlertKind.GOAL, None): _Words("Goals reached", "%(count)s goal reached", "%(count)s goals reached"),
}
"""In the order they are told: what may need something done comes first."""

MESSAGES = tuple(_WORDS.values())
"""All words of groups, for who translates."""

Member = Mapping[str, str]
Group = Mapping[str, "str | int | Sequence[Member]"]


def groups_of(digest: Digest, reader: Reader, worded: Callable[[FiringContext], InAppMessage]) -> Sequence[Group]:
    """The groups, each with its newest members first; `worded` says what one is told as."""
    language = language_of(reader.locale)
    return [
        _group(words, members, reader, language, worded)
        for group, words in _WORDS.items()
        if (members := [member for member in digest.members if _group_of(member.context) == group])
    ]


def summary(groups: Sequence[Group]) -> str:
    """How many there are of each group: 5 low balance, 2 bills due."""
    return ", ".join(str(group["label"]) for group in groups)


def _group_of(context: FiringContext) -> _Group:
    return _Group(context.kind, context.direction if isinstance(context, AccountThresholdContext) else None)


def _group(
    words: _Words,
    members: Sequence[DigestMember],
    reader: Reader,
    language: Language,
    worded: Callable[[FiringContext], InAppMessage],
) -> Group:
    newest = sorted(members, key=lambda member: member.fired_at, reverse=True)[:SHOWN_OF_A_GROUP]
    return {
        "heading": language.text(words.heading),
        "label": language.count(words.one, words.many, len(members), number(len(members), reader.locale)),
        "count": len(members),
        "unshown": len(members) - len(newest),
        "members": [_member(member, reader, worded(member.context)) for member in newest],
    }


def _member(member: DigestMember, reader: Reader, words: InAppMessage) -> Member:
    return {
        "title": words.title,
        "message": words.message,
        "action_url": words.action_url,
        "fired_at": instant(member.fired_at, reader.zone, reader.locale),
    }
