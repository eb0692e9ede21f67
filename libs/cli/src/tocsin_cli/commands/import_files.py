"""`tocsin import`: bank exports become facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tocsin_cli.calls import bank_bearer
from tocsin_cli.importing.csv_file import Whose
from tocsin_cli.importing.identity import Repeats
from tocsin_cli.importing.mapping import Hints, MappingError, Meaning, Sign, read_hints, read_toml
from tocsin_cli.importing.opening import Format
from tocsin_cli.importing.remembering import state_of
from tocsin_cli.importing.reporting import is_report, report_of
from tocsin_cli.importing.running import Wishes, run_import, show_mappings
from tocsin_cli.settings import read_settings

_WHOSE, _CSV, _SENDING, _REFUSED = "Whose", "How a CSV file is read", "Sending", "Refused rows and broken runs"
_MEANINGS = ", ".join(Meaning)

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="CSV, OFX, QFX or JSON lines; gzip or plain."),
]
User = Annotated[int | None, typer.Option(min=1, help="The user whose rows these are.", rich_help_panel=_WHOSE)]
UserColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The CSV column that names each row's user instead.", rich_help_panel=_WHOSE),
]
Account = Annotated[
    int | None,
    typer.Option(min=1, help="The account. Default: hashed from the file's account or card.", rich_help_panel=_WHOSE),
]
AccountName = Annotated[str, typer.Option(help="What an account made from the file is called.", rich_help_panel=_WHOSE)]
Partner = Annotated[
    int | None, typer.Option(min=1, help="The bank, in dev; else TOCSIN_TOKEN says it.", rich_help_panel=_WHOSE)
]
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Default: by what is in the file.", rich_help_panel=_CSV)
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="Read by this file (TOML) instead of a guess.", rich_help_panel=_CSV
    ),
]
ShowMapping = Annotated[
    bool,
    typer.Option("--show-mapping", help="Print the guess as a mapping file to edit, and stop.", rich_help_panel=_CSV),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on with the guess unasked.", rich_help_panel=_CSV)]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT=NAME",
        help=f"What a column is; repeatable, an empty NAME says there is none. WHAT: {_MEANINGS}.",
        rich_help_panel=_CSV,
    ),
]
DateFormat = Annotated[str | None, typer.Option(help="As strptime has it: %d/%m/%Y.", rich_help_panel=_CSV)]
TimeZone = Annotated[
    str | None,
    typer.Option(help="Whose clock times without a zone are by. Default: days only.", rich_help_panel=_CSV),
]
DecimalMark = Annotated[str | None, typer.Option(metavar=". or ,", help="Before the cents.", rich_help_panel=_CSV)]
SignOption = Annotated[
    Sign | None,
    typer.Option(help="account: money out is negative; reversed: positive, as in card exports.", rich_help_panel=_CSV),
]
Currency = Annotated[str | None, typer.Option(help="Of rows that name none.", rich_help_panel=_CSV)]
Encoding = Annotated[str | None, typer.Option(help="utf-8, cp1252, latin-1, ...", rich_help_panel=_CSV)]
Delimiter = Annotated[str | None, typer.Option(help="What parts the columns; tab for a tab.", rich_help_panel=_CSV)]
RepeatsOption = Annotated[
    Repeats,
    typer.Option(
        help="What rows are that are alike in all that is read: each a purchase, or one.", rich_help_panel=_SENDING
    ),
]
Live = Annotated[
    bool,
    typer.Option("--live", help="Post as news, which fires alerts. Default: as history.", rich_help_panel=_SENDING),
]
Check = Annotated[
    bool, typer.Option("--check", help="Read and check everything, send nothing.", rich_help_panel=_SENDING)
]
Strict = Annotated[bool, typer.Option("--strict", help="Send nothing when a row is refused.", rich_help_panel=_REFUSED)]
Report = Annotated[
    Path | None,
    typer.Option(help="Where refused rows are written. Default: FILE.refused.csv.", rich_help_panel=_REFUSED),
]
State = Annotated[
    Path | None,
    typer.Option(
        help="Where it is kept what is sent, until all is. Default: FILE.import-state.", rich_help_panel=_REFUSED
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Send all again after a broken run.", rich_help_panel=_REFUSED)
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(run)


def run(
    files: Files,
    user: User = None,
    user_column: UserColumn = None,
    account: Account = None,
    account_name: AccountName = "",
    partner: Partner = None,
    mapping: MappingFile = None,
    show_mapping: ShowMapping = False,
    yes: Yes = False,
    column: ColumnOption = None,
    date_format: DateFormat = None,
    time_zone: TimeZone = None,
    decimal_mark: DecimalMark = None,
    sign: SignOption = None,
    currency: Currency = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    format_: FormatOption = None,
    repeats: RepeatsOption = Repeats.PURCHASES,
    live: Live = False,
    check: Check = False,
    strict: Strict = False,
    report: Report = None,
    state: State = None,
    restart: Restart = False,
) -> None:
    """Import what a bank exports: CSV, OFX and QFX, or our own facts as JSON lines.

    A CSV file's columns are guessed, and the guess is shown before anything is sent.
    All is read and checked first; then rows go in as history, which fires nothing.
    A row is taken in whole or refused whole, and each refused row is reported by line.
    Importing a file twice changes nothing.

    [bold]For example[/]

    tocsin import checking.csv --user 1 --account 11

    tocsin import statement.qfx --user 1

    tocsin import cards.csv.gz --user-column Employee --repeats same --strict --yes

    tocsin import checking.csv --show-mapping > checking.toml

    tocsin import checking.csv --mapping checking.toml --user 1 --account 11

    Exits with 0 when all rows were accepted, 1 when some were refused or not sent,
    2 when nothing could be read.
    """
    if user and user_column:
        raise typer.BadParameter("either --user or --user-column")
    files = _without_reports(files)
    if len(files) > 1 and (report or state):
        raise typer.BadParameter("--report and --state go with one file")
    _require_apart(files, mapping, report, state)
    said = {
        "columns": _columns([*(column or []), *([f"user={user_column}"] if user_column else [])]),
        "date_format": date_format,
        "time_zone": time_zone,
        "decimal_mark": decimal_mark,
        "sign": sign,
        "currency": currency,
        "encoding": encoding,
        "delimiter": "\t" if delimiter == "tab" else delimiter,
    }
    hints = _hints(said, mapping)
    if show_mapping:
        raise typer.Exit(show_mappings(files, hints))
    settings = read_settings()
    wishes = Wishes(
        whose=Whose(user, account, account_name),
        hints=hints,
        format=format_,
        repeats=repeats,
        live=live,
        strict=strict,
        asks=not (yes or mapping),
        restart=restart,
        report=report,
        state=state,
    )
    token = None if check else bank_bearer(settings, partner)
    raise typer.Exit(run_import(files, wishes, settings, token))


def _without_reports(files: Sequence[Path]) -> list[Path]:
    """The files that no earlier import wrote, which `*.csv` names too. Raises typer.BadParameter where none is left."""
    kept = []
    for file in files:
        if is_report(file):
            typer.echo(f"{file.name}: passed over, it is an earlier import's report of refused rows", err=True)
        else:
            kept.append(file)
    if not kept:
        raise typer.BadParameter("there is nothing to import")
    return kept


def _require_apart(files: Sequence[Path], mapping: Path | None, report: Path | None, state: Path | None) -> None:
    """Raise typer.BadParameter where what is written would replace what is read, or one the other."""
    taken = {file.resolve(): f"the input {file.name}" for file in files}
    if mapping is not None:
        taken[mapping.resolve()] = "the mapping"
    for file in files:
        for option, path in (("--report", report or report_of(file)), ("--state", state or state_of(file))):
            if (other := taken.setdefault(path.resolve(), option)) != option:
                raise typer.BadParameter(f"{path} would be written as {option} and is {other}: say another {option}")


def _columns(said: list[str]) -> dict[str, tuple[str, ...]]:
    """The columns of WHAT=NAME options; several of one meaning stand in for each other. Raises typer.BadParameter."""
    columns: dict[str, tuple[str, ...]] = {}
    for each in said:
        what, separator, name = each.partition("=")
        if not separator or what not in set(Meaning):
            raise typer.BadParameter(f"{each!r} is no WHAT=NAME with one of {_MEANINGS}")
        columns[what] = (*columns.get(what, ()), name.strip())
    return columns


def _hints(said: Mapping[str, object], mapping: Path | None) -> Hints:
    """What the options say over what the mapping file says. Raises typer.BadParameter."""
    try:
        hints = read_hints(said)
        return hints.over(read_toml(mapping.read_text(encoding="utf-8"))) if mapping is not None else hints
    except (MappingError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error)) from None
