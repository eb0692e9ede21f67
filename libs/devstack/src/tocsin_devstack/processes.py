"""Child processes that never outlive us: started, watched and stopped by process id.

A child is told by the kernel to end when the thread that started it ends (Linux `PR_SET_PDEATHSIG`), so that a test run
or a `tocsin up` that is killed with SIGKILL leaves nothing behind. That is why children are started from the main
thread and never by `asyncio.to_thread`, whose threads end earlier than the program.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LOOK_EVERY = 0.02  # seconds between two looks at whether a starting child is ready
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildFailed(Exception):
    """A child process ended, or was not ready in time; the message holds the end of its log."""


def spawn(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    death_signal: signal.Signals = signal.SIGTERM,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a child in its own session (Ctrl-C in a terminal reaches only us), its output appended to `log`.

    `death_signal` is what the kernel sends it when we die. `user` is the system user to run it as, for children that
    refuse to run as root.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 our own servers, no shell
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            env=dict(environment) if environment is not None else None,
            cwd=directory,
            preexec_fn=_dies_with(os.getpid(), death_signal),
        )


def _dies_with(parent: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # the parent died before the line above took effect
            os._exit(1)

    return in_child


def wait_until(
    process: "subprocess.Popen[bytes]", is_ready: Callable[[], bool], *, what: str, log: Path, limit: timedelta
) -> None:
    """Return when `is_ready()` says so; raise ChildFailed when the child ends first or `limit` passes."""
    deadline = time.monotonic() + limit.total_seconds()
    while not is_ready():
        try:
            code = process.wait(timeout=_LOOK_EVERY)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
            stop(process, limit=timedelta(seconds=5))
            raise ChildFailed(f"{what} was not ready within {limit.total_seconds():g} s\n{tail(log)}") from None
        raise ChildFailed(f"{what} ended with code {code} while starting\n{tail(log)}")


def stop(
    process: "subprocess.Popen[bytes]", *, by: signal.Signals = signal.SIGTERM, limit: timedelta = timedelta(seconds=20)
) -> int:
    """Ask the child to end, kill it after `limit`; answers its exit code. Harmless when it has ended already."""
    if process.poll() is None:
        process.send_signal(by)
    try:
        return process.wait(timeout=limit.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists and has not merely been left unreaped."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text() if sys.platform == "linux" else ""
        os.kill(pid, 0)
    except (ProcessLookupError, FileNotFoundError):
        return False
    except PermissionError:
        return True
    return ") Z " not in status


def end_leftover(pid: int, *, by: signal.Signals, limit: timedelta = timedelta(seconds=10)) -> None:
    """End a process that is not our child (left by an earlier run): `by` first, SIGKILL after `limit`."""
    for how, patience in ((by, limit.total_seconds()), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while is_alive(pid):
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_EVERY)  # not our child, so there is nothing to wait on
        else:
            return


def command_line(pid: int) -> str:
    """The command line of a process, empty when it does not exist or cannot be read."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, for messages about a child that failed."""
    if not log.exists():
        return f"({log} does not exist)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
