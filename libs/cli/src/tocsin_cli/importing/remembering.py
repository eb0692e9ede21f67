"""What of a file is sent already, in a small file, so that a run that was broken off can be gone on with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class _Refused(BaseModel):
    model_config = ConfigDict(extra="forbid")

    lane: str
    place: int
    field: str
    why: str


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str
    done: dict[str, int] = {}
    refused: list[_Refused] = []
    strangers: list[int] = []


@dataclass(frozen=True)
class Answer:
    """What the service said to a batch: (place in the batch, field, why) of the rows it refused, unknown people."""

    refused: tuple[tuple[int, str, str], ...] = ()
    strangers: tuple[int, ...] = ()


def state_of(file: Path) -> Path:
    """Where it is kept what of a file is sent, unless something else is said."""
    return file.with_name(f"{file.name}.import-state")


@dataclass
class Memory:
    """How many batches of each lane are done, and what the service refused of them. Written after every batch."""

    path: Path
    _state: _State

    @classmethod
    def of(cls, path: Path, key: str, *, restart: bool) -> Memory:
        """What `path` holds of a run with this key; nothing where it is of another or `restart`.

        Raises OSError, also where the file is no text and so of nothing that was ever kept here.
        """
        memory = cls(path, _State(key=key) if restart else _read(path, key))
        memory._write()
        return memory

    def done(self, lane: str) -> int:
        """How many of a lane's batches are done."""
        return self._state.done.get(lane, 0)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is done yet."""
        return not self._state.done

    def note(self, lane: str, offset: int, answer: Answer) -> None:
        """A lane's next batch is done; its first row is the lane's `offset`th. Raises OSError."""
        self._state.done[lane] = self.done(lane) + 1
        self._state.refused += [
            _Refused(lane=lane, place=offset + place, field=field, why=why) for place, field, why in answer.refused
        ]
        self._state.strangers = sorted({*self._state.strangers, *answer.strangers})
        self._write()

    def refused(self, lane: str) -> list[tuple[int, str, str]]:
        """(place in the lane, field, why) of the rows that the service refused."""
        return [(each.place, each.field, each.why) for each in self._state.refused if each.lane == lane]

    @property
    def strangers(self) -> list[int]:
        """Users of whom no profile is known."""
        return self._state.strangers

    def forget(self) -> None:
        """Everything is sent: a later run begins anew."""
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        """Replace the file whole, so that a crash leaves the old one or the new one."""
        beside = self.path.with_name(self.path.name + ".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(self._state.model_dump_json())
        beside.replace(self.path)


def _read(path: Path, key: str) -> _State:
    try:
        found = _State.model_validate_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise FileExistsError(f"{path} is no text and holds nothing of an import") from None
    except (FileNotFoundError, ValidationError):
        return _State(key=key)
    return found if found.key == key else _State(key=key)
