"""Two rounds of the fault matrix, so that it works when `make chaos` wants it; `python -m tests.chaos` is the whole."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.matrix.cells import SHORT, Way, cells_of
from tests.chaos.matrix.command import main, run
from tests.chaos.matrix.table import as_line, complaints
from tocsin_devstack.fixtures import own_folder


@pytest.mark.timeout(300)
async def test_a_kill_in_the_call_and_a_crash_of_postgresql_lose_nothing_and_repeats_are_marked() -> None:
    """By all ways but SMTP, in one world."""
    with own_folder() as folder:
        audited = await run(folder, SHORT, frozenset(Way), Console(stderr=True))
    assert complaints(audited) == []
    line = json.loads(as_line(audited, timedelta(seconds=1)))
    cells = [cell for _, of_round in cells_of(SHORT, list(Way)) for cell in of_round]
    assert line == {"cells": len(cells), "lost": 0, "repeats": line["repeats"], "unexplained_repeats": 0, "seconds": 1}
    in_calls = [cell for cell in cells if cell.way is not Way.SMS and cell.blow.kills_dispatcher]
    assert line["repeats"] == len(in_calls), "e-mail, push and webhooks are repeated after a call nobody heard of"


def test_the_matrix_says_what_there_is_to_try(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without starting anything."""
    assert main(["--list", "--only", "kill -9 PostgreSQL", "--ways", "sms,push", "--keep", str(tmp_path / "none")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["12", "cells"]
    assert all("kill -9 PostgreSQL" in line for line in lines[:-1])
    assert not (tmp_path / "none").exists()


def test_what_the_matrix_does_not_know_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """A way that is none."""
    with pytest.raises(SystemExit):
        main(["--list", "--ways", "pigeon"])
    assert "pigeon" in capsys.readouterr().err
