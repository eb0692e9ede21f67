"""Rate limit tokens for a batch: what is wanted of each person, and who gets none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tocsin_dispatcher.delivering.candidates import Candidate
from tocsin_dispatcher.planning.local_time import zone_of
from tocsin_dispatcher.planning.stages.rate_limits import limits
from tocsin_dispatcher.planning.windows import windows_at
from tocsin_dispatcher.store.counters import Granted, Wanted
from tocsin_dispatcher.values import Counts


def wanted(candidates: Sequence[Candidate]) -> Wanted:
    """The tokens that these, all of one person, want."""
    case = candidates[0].case
    windows = windows_at(case.now, zone_of(case.recipient.contact, case.notification))
    critical = sum(one.claimed.notification.critical for one in candidates)
    per_hour, per_day = limits(case.recipient.preferences, case.recipient.partner)
    normal = len(candidates) - critical
    return Wanted(candidates[0].user, windows.hour, windows.day, normal, critical, per_hour, per_day)


def without_token(candidates: Sequence[Candidate], granted: Granted) -> list[Candidate]:
    """The last ones of each sort beyond what was granted."""
    normal = [one for one in candidates if not one.claimed.notification.critical]
    critical = [one for one in candidates if one.claimed.notification.critical]
    return normal[granted.normal :] + critical[granted.critical :]


def one_more(counts: Counts, critical: bool) -> Counts:
    """The counts when such a message has left."""
    if critical:
        return replace(counts, critical_this_hour=counts.critical_this_hour + 1)
    return replace(counts, this_hour=counts.this_hour + 1, today=counts.today + 1)
