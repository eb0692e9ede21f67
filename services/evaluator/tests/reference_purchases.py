"""The slow reference's purchases: which pending and which posted form are one.

Each rule is quoted from the evaluation page of the design, or says where else it stands.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from tocsin_evaluator.model.alerts import TransactionLimit
from tocsin_evaluator.model.facts import Transaction
from tocsin_evaluator.model.words import MoneyFlow, TransactionStatus

Key = tuple[int, int]
"""(partner, id)."""

Limits = Collection[tuple[Key, TransactionLimit]]
"""The transaction limits there are, each with its owner's (partner, user)."""


@dataclass
class Form:
    """A transaction, pending or posted, and the purchase it is a form of."""

    fact: Transaction
    posted_at: datetime
    posted_on: date
    is_history: bool
    received_at: datetime
    purchase_id: int
    purchase_on: date
    other_form: int | None = None

    @property
    def key(self) -> Key:
        """(partner, id)."""
        return self.fact.partner_id, self.fact.id

    @property
    def owner(self) -> Key:
        """(partner, user)."""
        return self.fact.partner_id, self.fact.user_id


def pair(changed: Iterable[Form], new: set[Key], forms: Mapping[Key, Form], limits: Limits) -> list[tuple[Form, Form]]:
    """Join the forms of a batch with all others; `new` are those that came first. Answers the pairs.

    Page: nearest first, deterministic. The bank's links, then equal amounts, then estimates; of equals the lower ids.
    """
    ranked = []
    for form in changed:
        for other in forms.values():
            for pending, posted in ((form, other), (other, form)):
                rank = _rank(pending, posted, new)
                if rank is not None:
                    ranked.append((*rank, pending.key, posted.key))
    taken: set[Key] = set()
    pairs = []
    for by_likeness, _, _, *keys in sorted(ranked):
        if not taken & {*keys}:
            taken |= {*keys}
            pending, posted = (forms[key] for key in keys)
            apart = bool(by_likeness) and any(_only_posted_crosses(*each, pending, posted) for each in limits)
            _join(pending, posted, new, keep_apart=apart)
            pairs.append((pending, posted))
    return pairs


def _rank(pending: Form, posted: Form, new: set[Key]) -> tuple[int, int, timedelta] | None:
    """How well two forms fit, the best first; None where they are not forms of one purchase."""
    p, q = pending.fact, posted.fact
    apart = abs(posted.posted_at - pending.posted_at)
    if pending is posted or pending.owner != posted.owner:
        return None
    if q.status is not TransactionStatus.POSTED or pending.other_form is not None:
        return None
    if q.pending_transaction_id is not None:
        return (0, 0, apart) if q.pending_transaction_id == p.id else None
    # Likeness is looked for once, when one of them comes first (test_purchases).
    if (
        p.status is not TransactionStatus.PENDING
        or posted.other_form is not None
        or not new & {pending.key, posted.key}
    ):
        return None
    # Page: else same account, same merchant, same amount, posted not before pending and at most 8 days after.
    here, there = ((each.account_id, each.currency, normalised(each.merchant)) for each in (p, q))
    if here != there or not 0 <= (posted.posted_on - pending.posted_on).days <= 8:
        return None
    if p.amount == q.amount:
        return 1, 0, apart
    # Page: another amount (within 20 %) only when the pending row is flagged an estimate.
    within = p.amount * q.amount > 0 and abs(q.amount - p.amount) * 5 <= abs(p.amount)
    return (1, 1, apart) if p.is_estimate and within else None


def _join(pending: Form, posted: Form, new: set[Key], *, keep_apart: bool) -> None:
    """ADR 9: the form that was here first names the purchase and its day; the pending one where both are new."""
    pending.other_form, posted.other_form = posted.fact.id, pending.fact.id
    if posted.key not in new and pending.key in new:
        pending.purchase_id, pending.purchase_on = posted.purchase_id, posted.purchase_on
    elif not keep_apart:
        posted.purchase_id, posted.purchase_on = pending.purchase_id, pending.purchase_on


def _only_posted_crosses(owner: Key, limit: TransactionLimit, pending: Form, posted: Form) -> bool:
    """Page: never when only the posted amount crosses a transaction limit (then it keeps a purchase id of its own)."""
    is_about_it = owner == posted.owner and limit.currency == posted.fact.currency
    return is_about_it and reaches(limit, posted.fact) and abs(pending.fact.amount) < limit.amount


def reaches(limit: TransactionLimit, fact: Transaction) -> bool:
    """Page: abs(amount) ≥ limit, account and direction match if given."""
    flows = {MoneyFlow.ANY: True, MoneyFlow.DEBIT: fact.amount < 0, MoneyFlow.CREDIT: fact.amount > 0}
    return abs(fact.amount) >= limit.amount and limit.account_id in (None, fact.account_id) and flows[limit.direction]


def normalised(name: str) -> str:
    """Page: NFKC, case-folded, white space squeezed."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())
