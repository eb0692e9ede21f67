"""Choosing which pending and which posted transaction are one purchase."""

from collections.abc import Iterable

from tocsin_evaluator.store.purchases import Candidate


def chosen_pairs(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each transaction in at most one pair: the bank's own links first, then equal amounts, nearest first.

    Ties go to the lower ids, so that the same facts pair alike in any order.
    """
    taken: set[tuple[int, int]] = set()
    chosen = []
    for each in sorted(candidates, key=_rank):
        members = {(each.partner_id, each.pending_id), (each.partner_id, each.posted_id)}
        if not members & taken:
            taken |= members
            chosen.append(each)
    return chosen


def _rank(each: Candidate) -> tuple[object, ...]:
    return (
        not each.linked_by_bank,
        not each.same_amount,
        abs(each.apart),
        each.partner_id,
        each.pending_id,
        each.posted_id,
        each.posted_keeps_its_id,
    )
