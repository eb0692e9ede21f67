"""A delivery's states and the steps between them: one tuple is the source of all that knows them.

The database's `transitions` rows and the trigger that refuses other steps, the diagram in the docs and the property
test are generated from `TRANSITIONS`.
"""

from enum import StrEnum


class DeliveryState(StrEnum):
    """Where a delivery stands, as `deliveries.status` stores it."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    UNKNOWN = "unknown"
    HELD = "held"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    MERGED = "merged"
    EXPIRED = "expired"


_S = DeliveryState

TRANSITIONS: tuple[tuple[DeliveryState, tuple[DeliveryState, ...]], ...] = (
    (_S.PENDING, (_S.SENDING, _S.HELD, _S.SUPPRESSED, _S.MERGED, _S.EXPIRED, _S.FAILED)),
    # Back to pending: given back at shutdown, or throttled.
    (_S.SENDING, (_S.SENT, _S.DELIVERED, _S.RETRYING, _S.UNKNOWN, _S.FAILED, _S.SUPPRESSED, _S.PENDING)),
    (_S.RETRYING, (_S.SENDING, _S.HELD, _S.SUPPRESSED, _S.MERGED, _S.EXPIRED, _S.FAILED)),
    (_S.UNKNOWN, (_S.SENT, _S.DELIVERED, _S.BOUNCED, _S.FAILED, _S.RETRYING, _S.EXPIRED)),
    (_S.HELD, (_S.PENDING, _S.MERGED, _S.SUPPRESSED, _S.EXPIRED)),
    (_S.SENT, (_S.DELIVERED, _S.BOUNCED, _S.FAILED)),
    (_S.DELIVERED, (_S.BOUNCED,)),
    # A person retries.
    (_S.FAILED, (_S.PENDING,)),
    # The message it joined was suppressed, expired or failed.
    (_S.MERGED, (_S.PENDING,)),
    # A person retries, with a new expires_at.
    (_S.EXPIRED, (_S.PENDING,)),
    (_S.BOUNCED, ()),
    (_S.SUPPRESSED, ()),
)

WAITING: frozenset[DeliveryState] = frozenset({_S.PENDING, _S.HELD, _S.RETRYING, _S.UNKNOWN})
"""States in which `due_at` says when the worker looks at it again."""

LEFT: frozenset[DeliveryState] = frozenset({_S.SENT, _S.DELIVERED, _S.BOUNCED})
"""States of a message that a provider took: an SMS's segments are paid for."""

FINAL: frozenset[DeliveryState] = frozenset(
    {_S.SENT, _S.DELIVERED, _S.BOUNCED, _S.FAILED, _S.SUPPRESSED, _S.MERGED, _S.EXPIRED}
)
"""States the worker has nothing more to do in; receipts or a person may still move them."""


def is_allowed(before: DeliveryState, after: DeliveryState) -> bool:
    """Whether a delivery may step from `before` to `after`."""
    return any(after in reached for state, reached in TRANSITIONS if state is before)


def transition_pairs() -> tuple[tuple[DeliveryState, DeliveryState], ...]:
    """Every allowed step as (before, after), in the tuple's order."""
    return tuple((before, after) for before, reached in TRANSITIONS for after in reached)


def transitions_sql() -> tuple[str, ...]:
    """The statements that make the database enforce `TRANSITIONS`, for a migration to execute in order.

    A table of the allowed steps, and a trigger on `deliveries` that refuses every other change of status. Rows enter
    `deliveries` in any state: the plan decides the first one.
    """
    rows = ", ".join(f"('{before}', '{after}')" for before, after in transition_pairs())
    return (
        "CREATE TABLE transitions (before text NOT NULL, after text NOT NULL, PRIMARY KEY (before, after))",
        f"INSERT INTO transitions (before, after) VALUES {rows}",  # noqa: S608 (values of our own enum)
        """
CREATE FUNCTION refuse_forbidden_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM transitions t WHERE t.before = OLD.status AND t.after = NEW.status) THEN
    RAISE EXCEPTION 'delivery % may not go from % to %', OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'deliveries_transition';
  END IF;
  RETURN NEW;
END
$$""",
        """
CREATE TRIGGER deliveries_transition BEFORE UPDATE OF status ON deliveries
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
  EXECUTE FUNCTION refuse_forbidden_transition()""",
    )


def mermaid() -> str:
    """The states as a Mermaid diagram, for `docs/delivery-states.md`."""
    starts = (_S.PENDING, _S.HELD, _S.SUPPRESSED, _S.MERGED, _S.SENT)
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in starts]
    lines += [f"    {before} --> {after}" for before, after in transition_pairs()]
    return "\n".join(lines)
