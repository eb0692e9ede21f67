"""The one tuple of steps and what is generated from it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tocsin_dispatcher.states import (
    FINAL,
    TRANSITIONS,
    WAITING,
    DeliveryState,
    is_allowed,
    mermaid,
    transition_pairs,
    transitions_sql,
)

ROOT = Path(__file__).parents[4]
STATES = st.sampled_from(DeliveryState)


def test_every_state_is_listed_once() -> None:
    assert sorted(state for state, _ in TRANSITIONS) == sorted(DeliveryState)


def test_the_diagram_in_the_docs_is_the_generated_one() -> None:
    told = (ROOT / "docs" / "delivery-states.md").read_text()
    assert f"```mermaid\n{mermaid()}\n```" in told, "write mermaid() into docs/delivery-states.md"


def test_the_database_is_given_every_allowed_step_and_no_other() -> None:
    rows = transitions_sql()[1]
    assert rows.count("('") == len(transition_pairs())
    assert all(f"('{before}', '{after}')" in rows for before, after in transition_pairs())


@given(st.lists(STATES, min_size=1, max_size=12))
def test_no_walk_of_allowed_steps_leaves_a_message_that_was_sent_to_be_sent_again(walk: list[DeliveryState]) -> None:
    state, was_sent = DeliveryState.PENDING, False
    for step in walk:
        if not is_allowed(state, step):
            continue
        was_sent = was_sent or step in (DeliveryState.SENT, DeliveryState.DELIVERED)
        state = step
        # Only a failure that the provider told lets a person send again.
        if was_sent and state in (DeliveryState.HELD, DeliveryState.RETRYING, DeliveryState.UNKNOWN):
            assert DeliveryState.FAILED in walk


@given(STATES)
def test_every_waiting_state_can_come_to_an_end(state: DeliveryState) -> None:
    reached, border = {state}, {state}
    while border:
        border = {after for before, after in transition_pairs() if before in border} - reached
        reached |= border
    assert reached & FINAL or state in FINAL
    assert not WAITING & FINAL
