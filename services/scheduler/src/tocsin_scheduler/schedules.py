"""What a schedule is, and which are shipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tocsin_scheduler.jobs import WorkClass


class CatchUp(StrEnum):
    """What becomes of times missed in an outage."""

    LATEST = "latest"
    NONE = "none"
    ALL = "all"


@dataclass(frozen=True)
class Schedule:
    """When a type of job is made. `next_run_at` is the next time not yet turned into a run."""

    name: str
    cron: str
    time_zone: str
    type: str
    args: Mapping[str, str]
    work_class: WorkClass
    enabled: bool
    catch_up: CatchUp
    next_run_at: datetime


@dataclass(frozen=True)
class ShippedSchedule:
    """A schedule that is there from the first start on; operators may change it."""

    name: str
    cron: str
    type: str
    work_class: WorkClass
    time_zone: str = "UTC"
    catch_up: CatchUp = CatchUp.LATEST
    args: Mapping[str, str] = field(default_factory=dict)


_FIVE_MINUTES = "*/5 * * * *"
_NIGHTLY = "0 3 * * *"

#: The table of the scheduling page. Bills go by the quarter of an hour because time zones do.
SHIPPED = (
    ShippedSchedule("evaluate-periodic", _FIVE_MINUTES, "evaluate.periodic", WorkClass.PERIODIC),
    ShippedSchedule("evaluate-bills", "*/15 * * * *", "evaluate.bills", WorkClass.BILLS),
    ShippedSchedule("evaluate-audit", _FIVE_MINUTES, "evaluate.audit", WorkClass.PERIODIC),
    ShippedSchedule("dispatch-audit", _FIVE_MINUTES, "dispatch.audit", WorkClass.PERIODIC),
    ShippedSchedule("gateway-audit", _FIVE_MINUTES, "gateway.audit", WorkClass.PERIODIC),
    ShippedSchedule("evaluate-retention", _NIGHTLY, "evaluate.retention", WorkClass.BILLS),
    ShippedSchedule("dispatch-retention", _NIGHTLY, "dispatch.retention", WorkClass.BILLS),
    ShippedSchedule("scheduler-retention", _NIGHTLY, "scheduler.retention", WorkClass.BILLS),
    ShippedSchedule("gateway-retention", _NIGHTLY, "gateway.retention", WorkClass.BILLS),
)
