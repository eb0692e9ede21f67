"""Joining the pending and the posted form of a purchase once both are here."""

from collections.abc import Iterable, Mapping, Set

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.facts.purchases import chosen_pairs
from tocsin_evaluator.store import purchases
from tocsin_evaluator.store.purchases import Candidate, Form, Spending
from tocsin_evaluator.store.upserts import Key


async def pair_forms(connection: AsyncConnection, versions: Mapping[Key, int]) -> set[Spending]:
    """Join what just came, given with its versions, to its other forms; answers the spending that may have changed."""
    if not versions:
        return set()
    found = await purchases.candidates(connection, {key: version == 1 for key, version in versions.items()})
    new = {key for key, version in versions.items() if version == 1}
    return await purchases.pair(connection, [form for each in chosen_pairs(found) for form in _forms(each, new)])


def _forms(pair: Candidate, new: Set[Key]) -> Iterable[Form]:
    """Both forms. The one that was here first names the purchase and its day, the pending one where both are new."""
    partner_id, pending_id, posted_id = pair.partner_id, pair.pending_id, pair.posted_id
    posted_was_first = (partner_id, posted_id) not in new and (partner_id, pending_id) in new
    yield Form(partner_id, pending_id, posted_id, named_by=posted_id if posted_was_first else pending_id)
    keeps_its_id = posted_was_first or pair.posted_keeps_its_id
    yield Form(partner_id, posted_id, pending_id, named_by=posted_id if keeps_its_id else pending_id)
