"""An import from its files to its exit status: all files are read and checked before the first row is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import SystemRandom

import grpc
import typer

from tocsin_cli.calls import call, partner_of
from tocsin_cli.importing import batches, sending
from tocsin_cli.importing.batches import Lane, stages
from tocsin_cli.importing.checking import Checker, refusal
from tocsin_cli.importing.csv_file import Whose, read_csv
from tocsin_cli.importing.facts_file import read_facts
from tocsin_cli.importing.guessing import Guess, guess
from tocsin_cli.importing.identity import Repeats
from tocsin_cli.importing.mapping import Hints, Mapping, MappingError, Meaning, write_toml
from tocsin_cli.importing.ofx_file import read_ofx
from tocsin_cli.importing.opening import Format, Source, Unreadable, format_of, open_source
from tocsin_cli.importing.progress import bar, counting
from tocsin_cli.importing.remembering import Memory, state_of
from tocsin_cli.importing.reporting import Tally, report_of, show_guess, show_refused, show_tally, write_refused
from tocsin_cli.importing.rows import Reading, Refusal
from tocsin_cli.settings import CliSettings
from tocsin_cli.show import complain, say
from tocsin_kit.clock import SystemClock
from tocsin_kit.rpc.errors import TocsinError

_SHOWN_USERS = 5
ALL_ACCEPTED, SOME_REFUSED, NOT_READ = 0, 1, 2


@dataclass(frozen=True)
class Wishes:
    """What the command line says. `asks`: a guess is shown and waits for a yes."""

    whose: Whose
    hints: Hints
    format: Format | None = None
    repeats: Repeats = Repeats.PURCHASES
    live: bool = False
    strict: bool = False
    asks: bool = True
    restart: bool = False
    report: Path | None = None
    state: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A file that was read and checked: `stages` are its good rows, `reading.refused` the bad ones."""

    source: Source
    reading: Reading
    stages: Sequence[Sequence[Lane]]
    key: str
    report: Path
    state: Path


def show_mappings(files: Sequence[Path], hints: Hints) -> int:
    """Print the mapping of each CSV file as TOML."""
    for file in files:
        try:
            source = open_source(file)
            if format_of(source.content) is not Format.CSV:
                raise Unreadable("only CSV files need a mapping")
            typer.echo(write_toml(guess(source.content, hints).mapping), nl=False)
        except (Unreadable, MappingError) as error:
            complain(f"{file.name}: {error}")
            return NOT_READ
    return ALL_ACCEPTED


def run_import(files: Sequence[Path], wishes: Wishes, settings: CliSettings, token: str | None) -> int:
    """Import the files one after the other; the exit status. Without a token they are read and checked only."""
    prepared: list[Prepared] = []
    for file in files:
        try:
            prepared.append(_prepare(open_source(file), wishes, f"{settings.evaluator_target} {partner_of(token)}"))
            write_refused(prepared[-1].report, prepared[-1].reading.refused)
        except OSError as error:
            complain(f"{error}: say --report PATH where a file can be written; nothing was sent")
            return NOT_READ
        except (Unreadable, MappingError) as error:
            complain(f"{file.name}: {error}; nothing was sent")
            return NOT_READ
    too_strict = wishes.strict and any(each.reading.refused for each in prepared)
    if token is None or too_strict:
        if too_strict:
            complain("rows were refused and --strict is given: nothing was sent")
        return max(_tell(each, None, wishes.repeats) for each in prepared)
    return max(_send(each, wishes, settings, token) for each in prepared)


def _prepare(source: Source, wishes: Wishes, target: str) -> Prepared:
    """Read and check a file. Raises Unreadable, MappingError; ends the command where a person says no."""
    found = wishes.format or format_of(source.content)
    mapping = _mapping(source, wishes) if found is Format.CSV else None
    lines = source.content.count(b"\n")
    with bar(f"reading {source.name}", lines) as advance_to:
        reading = _checked(_reading(source, found, mapping, wishes, advance_to))
        advance_to(lines)
    told = [source.digest, found, mapping, wishes.whose, wishes.hints.currency, wishes.repeats, wishes.live, target]
    return Prepared(
        source=source,
        reading=reading,
        stages=stages(reading.rows),
        key=sha256(repr([*told, batches.MOST_ROWS, batches.LANES]).encode()).hexdigest(),
        report=wishes.report or report_of(source.path),
        state=wishes.state or state_of(source.path),
    )


def _reading(
    source: Source, found: Format, mapping: Mapping | None, wishes: Wishes, on_progress: Callable[[int], None]
) -> Reading:
    if mapping is not None:
        return read_csv(source.content, mapping, wishes.whose, wishes.repeats, on_progress)
    if found is Format.FACTS:
        return read_facts(source.content)
    if wishes.whose.user is None:
        raise Unreadable("say whose accounts these are: --user")
    return read_ofx(source.content, wishes.whose, wishes.hints.currency, wishes.repeats)


def _mapping(source: Source, wishes: Wishes) -> Mapping:
    """How to read a CSV file: guessed where nothing says it, and then shown. Raises Unreadable."""
    guessed = guess(source.content, wishes.hints)
    if wishes.asks or guessed.doubts:
        show_guess(source.name, guessed)
    _require_owner(guessed, wishes.whose)
    if wishes.asks:
        typer.confirm("\nGo on?", abort=True)
    elif guessed.doubts:
        raise Unreadable("the guess is doubtful (see above)")
    return guessed.mapping


def _require_owner(guessed: Guess, whose: Whose) -> None:
    """Raise Unreadable where neither the command nor a column says whose rows and which account's they are."""
    columns = guessed.mapping.columns
    if whose.user is None and not columns.of(Meaning.USER):
        raise Unreadable("say whose rows these are: --user N, or --user-column NAME")
    if whose.account is None and not columns.of(Meaning.ACCOUNT):
        raise Unreadable("say which account these rows are of: --account N, or --column account=NAME")


def _checked(reading: Reading) -> Reading:
    """The reading with the rows refused that break a rule of the contract."""
    checker = Checker()
    found = {number: wrong for number, row in enumerate(reading.rows) if (wrong := checker.refusal_of(row)) is not None}
    rows = [row for number, row in enumerate(reading.rows) if number not in found]
    refused = sorted([*reading.refused, *found.values()], key=lambda each: each.line)
    return replace(reading, rows=rows, refused=refused)


@dataclass(frozen=True)
class Sent:
    """What became of the rows that were sent, and what stopped the rest."""

    accepted: int
    refused: Sequence[Refusal]
    strangers: Sequence[int]
    stopped: TocsinError | None


def _send(prepared: Prepared, wishes: Wishes, settings: CliSettings, token: str) -> int:
    """Send what an earlier run has not; tell what became of all of it."""
    try:
        memory = Memory.of(prepared.state, prepared.key, restart=wishes.restart)
        if not memory.is_fresh:
            say(f"{prepared.source.name}: going on where an earlier run was broken off")
        stopped = _send_rest(prepared, memory, wishes, settings, token)
    except OSError as error:
        complain(f"{error}: say --state PATH where a file can be written")
        return NOT_READ
    status = _tell(prepared, _sent(prepared, memory, stopped), wishes.repeats)
    if stopped is None:
        memory.forget()
    return status


def _send_rest(
    prepared: Prepared, memory: Memory, wishes: Wishes, settings: CliSettings, token: str
) -> TocsinError | None:
    """Send what `memory` does not hold as done; what stopped it. Raises OSError where it cannot be noted."""
    with bar(f"sending {prepared.source.name}", len(prepared.reading.rows)) as advance_to:

        async def work(channel: grpc.aio.Channel) -> TocsinError | None:
            sender = sending.Sender(
                channel,
                backfill=not wishes.live,
                clock=SystemClock(),
                random=SystemRandom(),
                patience=sending.PATIENCE,
            )
            return await sender.send(prepared.stages, memory, counting(advance_to))

        return call(settings, settings.evaluator_target, work, token)


def _sent(prepared: Prepared, memory: Memory, stopped: TocsinError | None) -> Sent:
    accepted, refused = 0, list[Refusal]()
    for lane in (lane for stage in prepared.stages for lane in stage):
        rows = [row for batch in lane.batches[: memory.done(lane.name)] for row in batch]
        wrong = {place: refusal(rows[place], field, why) for place, field, why in memory.refused(lane.name)}
        refused += wrong.values()
        accepted += sum(not row.implied for place, row in enumerate(rows) if place not in wrong)
    return Sent(accepted, refused, memory.strangers, stopped)


def _tell(prepared: Prepared, sent: Sent | None, repeats: Repeats) -> int:
    """Print and write down what became of the rows, where they were only checked, what is wrong; the exit status."""
    reading = prepared.reading
    refused = sorted([*reading.refused, *(sent.refused if sent else ())], key=lambda each: each.line)
    write_refused(prepared.report, refused)
    show_refused(refused, prepared.report)
    tally = Tally(
        read=reading.count,
        accepted=sent.accepted if sent else 0,
        refused=sum(not each.implied for each in refused),
        repeats=reading.repeats,
        left_out=reading.left_out,
    )
    show_tally(prepared.source.name, tally, repeats, only_checked=sent is None)
    if sent and sent.strangers:
        say(f"no profile is known of {_people(sent.strangers)}: their days are taken in UTC")
    if sent and sent.stopped:
        complain(f"{sent.stopped.reason.value}: {sent.stopped.message}; run the same command again to go on from here")
    return SOME_REFUSED if refused or (sent and sent.stopped) else ALL_ACCEPTED


def _people(users: Sequence[int]) -> str:
    shown = ", ".join(map(str, users[:_SHOWN_USERS]))
    more = len(users) - _SHOWN_USERS
    return f"user{'s' * (len(users) > 1)} {shown}{f' and {more:,} more' if more > 0 else ''}"
