"""`tocsin schedules`: when jobs are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from tocsin.jobs.v1 import schedule_pb2, schedule_pb2_grpc
from tocsin_cli.calls import call
from tocsin_cli.choices import number, word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import instant, say, table

_CATCH_UP = schedule_pb2.DESCRIPTOR.enum_types_by_name["CatchUp"]
Answer = TypeVar("Answer")
Name = Annotated[str, typer.Argument(help="The schedule's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look at schedules, pause, resume, run and change them.", no_args_is_help=True)
    for command in (pause, resume, run):
        group.command()(command)
    group.command("list")(listing)
    group.command("set")(change)
    app.add_typer(group, name="schedules")


def _ask(work: Callable[[schedule_pb2_grpc.ScheduleServiceAsyncStub], Awaitable[Answer]]) -> Answer:
    settings = read_settings()
    return call(settings, settings.scheduler_target, lambda opened: work(schedule_pb2_grpc.ScheduleServiceStub(opened)))


def listing() -> None:
    """List schedules by name."""
    request = schedule_pb2.ListSchedulesRequest(page_size=200)
    _table(list(_ask(lambda schedules: schedules.ListSchedules(request)).schedules))


def pause(name: Name) -> None:
    """Stop a schedule from making jobs."""
    request = schedule_pb2.PauseScheduleRequest(name=name)
    _table([_ask(lambda schedules: schedules.PauseSchedule(request)).schedule])


def resume(name: Name) -> None:
    """Let a paused schedule go on, from its next time on."""
    request = schedule_pb2.ResumeScheduleRequest(name=name)
    _table([_ask(lambda schedules: schedules.ResumeSchedule(request)).schedule])


def run(name: Name) -> None:
    """Make a schedule's job now."""
    job = _ask(lambda schedules: schedules.RunSchedule(schedule_pb2.RunScheduleRequest(name=name))).job
    say(f"{job.id} {job.type}")


def change(
    name: Name,
    cron: Annotated[str | None, typer.Option(help="When, in cron's five fields.")] = None,
    zone: Annotated[str | None, typer.Option(help="The IANA time zone of the cron.")] = None,
    catch_up: Annotated[str | None, typer.Option(help="What becomes of missed times: latest, none or all.")] = None,
) -> None:
    """Change a schedule; what is not given stays. A new cron or zone counts from now on."""
    schedule = schedule_pb2.Schedule(
        cron=cron or "",
        time_zone=zone or "",
        catch_up=schedule_pb2.CatchUp.ValueType(number(_CATCH_UP, catch_up)),
    )
    given = {"cron": cron, "time_zone": zone, "catch_up": catch_up}
    mask = FieldMask(paths=[path for path, value in given.items() if value is not None])
    if not mask.paths:
        raise typer.BadParameter("say what to change: --cron, --zone or --catch-up")
    request = schedule_pb2.UpdateScheduleRequest(name=name, schedule=schedule, update_mask=mask)
    _table([_ask(lambda schedules: schedules.UpdateSchedule(request)).schedule])


def _table(schedules: list[schedule_pb2.Schedule]) -> None:
    table(
        ("name", "cron", "zone", "job", "catch-up", "enabled", "next run"),
        (
            (
                schedule.name,
                schedule.cron,
                schedule.time_zone,
                " ".join((schedule.type, *(f"{name}={value}" for name, value in sorted(schedule.args.items())))),
                word(_CATCH_UP, schedule.catch_up),
                "yes" if schedule.enabled else "paused",
                instant(schedule.next_run_at),
            )
            for schedule in schedules
        ),
        nothing="no schedules",
    )
