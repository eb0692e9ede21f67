"""Conditions on a delivery that a partial index and the statements it serves must say alike."""

#: States in which a delivery waits for its due_at (a sending one waits for the end of its lease).
WAITING = "status IN ('pending', 'held', 'retrying', 'unknown', 'sending')"
#: States in which a delivery tells nothing, itself.
UNTOLD = "('suppressed', 'merged', 'expired', 'failed')"
#: Such a delivery keeps its fact to itself: another message about it would be the second.
HOLDS_FACT = f"fact_key IS NOT NULL AND status NOT IN {UNTOLD}"


def held_together(row: str = "") -> str:
    """What a delivery must be to leave as one with others of its person and channel that come due when it does
    (`planning.digests.waits_together`); `row` is its alias with a dot. It keeps the reason while a worker has it."""
    reasons = "'daily_digest', 'quiet_hours', 'rate_limited', 'flood'"
    return (
        f"{row}purpose = 'alert' AND {row}attempt = 0 AND {row}merged_into IS NULL"
        f" AND {row}status IN ('held', 'pending') AND {row}reason IN ({reasons})"
    )
