"""Does another alert tell this user about the same purchase already?"""

from tocsin_dispatcher.planning.same_fact import settle
from tocsin_dispatcher.values import GateCase, GateVerdict, Merge, Proceed


def one_message_per_fact(case: GateCase) -> GateVerdict:
    """Merge into the delivery that speaks for the purchase now; proceed where this one does.

    One that left when a critical one came has given up the key to its fact, and so has one that a person tries again
    when another tells it: before they leave once more, that other one is looked at.
    """
    other = case.recipient.same_fact
    if other is None:
        return Proceed()
    decision = settle(case.notification.critical, other)
    return decision if isinstance(decision, Merge) else Proceed()
