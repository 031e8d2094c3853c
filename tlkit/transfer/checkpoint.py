"""What a training needs to go on after its process was killed: one file, replaced as a whole."""

import json
import math
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.errors import CheckpointError
from tlkit.manifest import CHECKPOINTS, replacing

NAME = "state.npz"
# Seconds between two checkpoints: at least these, and at least this many times what writing one takes.
_EVERY, _SHARE = 2.0, 20.0


@dataclass(kw_only=True)
class State:
    """How far a training is.

    Attributes:
        phase: Which phase of the training it is, from 0.
        done: Steps of the phase.
        finished: Whether nothing of the phase is left to train.
        stopped: Whether no later phase is to follow.
        begins: Rows of history.csv when each phase began.
        begun: Rows of history.csv when this phase began, or began again.
        attempt: How often the phase has begun again.
        drops: What the first epoch of thawed stages lost, each time that it was too much: see `loop.Training`.
        start: Validation before the first step, of a model that was trained before; a row without epoch.
        rows: Of history.csv, one for each epoch.
        best_epoch: The row with the smallest validation loss, from 1; 0 before the first.
        best_loss: Its validation loss.
        best: What training moves, as it was then.
        losses, right, seen, seconds: Of the epoch under way: sum of losses, right answers, photos, time.
    """

    phase: int = 0
    done: int = 0
    finished: bool = False
    stopped: bool = False
    begins: list[int] = field(default_factory=lambda: [0])
    begun: int = 0
    attempt: int = 0
    start: dict[str, float] | None = None
    drops: list[dict[str, float]] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best: list[np.ndarray] = field(default_factory=list)
    losses: float = 0.0
    right: float = 0.0
    seen: int = 0
    seconds: float = 0.0


class Checkpoints:
    """The checkpoint of one run.

    Args:
        folder: Of the run; None keeps none.
        variables: All that training moves, of the model and its optimizer, in a fixed order.
    """

    def __init__(self, folder: Path | None, variables: Sequence[keras.Variable]) -> None:
        self._path = folder / CHECKPOINTS / NAME if folder is not None else None
        self._variables = list(variables)
        self._last, self._cost = time.perf_counter(), 0.0

    def save_now_and_then(self, state: State) -> None:
        """Saves when the last time is long enough ago."""
        if time.perf_counter() - self._last >= max(_EVERY, _SHARE * self._cost):
            self.save(state)

    def save(self, state: State) -> None:
        """Saves.

        Raises:
            OSError: it can't be written; the one before is still there.
        """
        if self._path is None:
            return
        started = self._last = time.perf_counter()
        about = {name: value for name, value in vars(state).items() if name != "best"}
        arrays = {f"variable_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(self._variables)}
        arrays |= {f"best_{i}": value for i, value in enumerate(state.best)}
        self._path.parent.mkdir(exist_ok=True)
        with replacing(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **arrays)
        self._last = time.perf_counter()
        self._cost = self._last - started

    def restore(self) -> State:
        """Puts the variables back and returns the state; a new one when there is no checkpoint.

        Raises:
            CheckpointError: the checkpoint is broken, or of another model.
        """
        if self._path is None or not self._path.exists():
            return State()
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                about: dict[str, Any] = json.loads(str(saved["about"]))
                values = [saved[f"variable_{i}"] for i in range(len(self._variables))]
                best = [saved[name] for name in sorted(_named(saved, "best_"), key=_number)]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as err:
            raise CheckpointError(f"{self._path} is broken ({err}). Train again, without --resume.") from err
        if any(value.shape != tuple(v.shape) for value, v in zip(values, self._variables, strict=True)):
            raise CheckpointError(f"{self._path} is of another model. Train again, without --resume.")
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        return State(**about, best=best)


def phase_of(folder: Path) -> int:
    """Returns the phase of a run's checkpoint; 0 without one, and of one that is broken: reading it will say so."""
    try:
        with np.load(folder / CHECKPOINTS / NAME, allow_pickle=False) as saved:
            return int(json.loads(str(saved["about"]))["phase"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return 0


def _named(saved: Any, prefix: str) -> list[str]:  # noqa: ANN401
    return [name for name in saved.files if name.startswith(prefix)]


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])
