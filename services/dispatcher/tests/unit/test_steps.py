"""Where receipts lead a delivery."""

import itertools
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tocsin_dispatcher.receiving.steps import steps
from tocsin_dispatcher.states import DeliveryState, is_allowed
from tocsin_dispatcher.values import Receipt, ReceiptEffect

S, E = DeliveryState, ReceiptEffect
NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)


def said(effect: ReceiptEffect, minutes: int = 0) -> Receipt:
    return Receipt("sendgrid", f"{effect}:{minutes}", effect, NOON + timedelta(minutes=minutes))


WAYS = [
    (S.SENDING, [E.DELIVERED], [S.DELIVERED], "it overtook our own outcome"),
    (S.SENDING, [E.BOUNCED], [S.SENT, S.BOUNCED], "through sent, as the order of states has it"),
    (S.SENT, [E.SENT, E.OPENED, E.CLICKED, E.NOTED], [], "no news"),
    (S.SENT, [E.DELIVERED, E.BOUNCED], [S.DELIVERED, S.BOUNCED], "a late bounce"),
    (S.UNKNOWN, [E.SENT], [S.SENT], "a callback settles what nobody answered for"),
    (S.RETRYING, [E.DELIVERED], [S.SENDING, S.DELIVERED], "what has arrived is not repeated"),
    (S.RETRYING, [E.SENT], [S.SENDING, S.SENT], "nor what the provider has"),
    (S.RETRYING, [E.BOUNCED], [S.SENDING, S.SENT, S.BOUNCED], "nor what came back"),
    (S.RETRYING, [E.FAILED], [S.FAILED], "at once"),
    (S.PENDING, [E.DELIVERED], [S.SENDING, S.DELIVERED], "throttled, or tried again by a person"),
    (S.HELD, [E.DELIVERED], [S.PENDING, S.SENDING, S.DELIVERED], "a retry that waits for the morning"),
    (S.FAILED, [E.DELIVERED], [], "a final state stands until a person moves it"),
    (S.EXPIRED, [E.DELIVERED], [], "so does this one"),
    (S.MERGED, [E.DELIVERED], [], "another one tells it"),
    (S.BOUNCED, [E.DELIVERED], [], "a bounce is not taken back"),
]


@pytest.mark.parametrize(("before", "effects", "want", "why"), WAYS, ids=[row[3] for row in WAYS])
def test_receipts_lead_on_and_never_back(
    before: DeliveryState, effects: list[ReceiptEffect], want: list[DeliveryState], why: str
) -> None:
    for order in itertools.permutations(effects):
        assert [step for step, _ in steps(before, [said(effect) for effect in order])] == want, why


@pytest.mark.parametrize("before", S)
def test_the_database_allows_every_step(before: DeliveryState) -> None:
    for effects in itertools.product(E, repeat=3):
        taken = [step for step, _ in steps(before, [said(effect) for effect in effects])]
        for one, next_one in pairwise([before, *taken]):
            assert is_allowed(one, next_one), (effects, taken)


def test_a_step_comes_from_the_receipt_that_says_so_first() -> None:
    receipts = [said(E.DELIVERED, 9), said(E.OPENED, 60), said(E.DELIVERED, 2), said(E.SENT, 1)]
    assert steps(S.UNKNOWN, receipts) == [(S.SENT, said(E.SENT, 1)), (S.DELIVERED, said(E.DELIVERED, 2))]


def test_no_order_of_arrival_takes_a_state_back() -> None:
    for order in itertools.permutations([E.SENT, E.DELIVERED, E.BOUNCED]):
        state = S.SENDING
        for effect in order:
            state = next((step for step, _ in reversed(steps(state, [said(effect)]))), state)
        assert state is S.BOUNCED, order
