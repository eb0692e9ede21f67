"""Does another alert tell this user about the same purchase already?"""

from tocsin_dispatcher.planning.same_fact import settle
from tocsin_dispatcher.values import GateCase, GateVerdict, Merge, Proceed


def one_message_per_fact(case: GateCase) -> GateVerdict:
    """Merge into the delivery that speaks for the purchase; proceed where this one does."""
    other = case.recipient.same_fact
    if other is None:
        return Proceed()
    decision = settle(case.notification.critical, other)
    return decision if isinstance(decision, Merge) else Proceed()
