"""Photos to classes, with the model of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ImageError
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress

if TYPE_CHECKING:
    import keras

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one file shows: classes with probabilities, most probable first; or why it can't be told."""

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as `--json` prints it."""
        if self.error:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "top": [{"class": name, "probability": value} for name, value in self.top]}


def predict(
    model: "keras.Model",
    paths: Sequence[str | Path],
    spec: PreprocessSpec,
    classes: Sequence[str],
    *,
    top: int = 5,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Classifies files. One that can't be read gets an error; the rest are done.

    Args:
        model: From pixels to probabilities.
        paths: Image files.
        spec: The run's preprocessing.
        classes: Names in the order of the model's output.
        top: How many classes to return for each.
        progress: Shows a bar.

    Returns:
        One prediction for each path, in order.
    """
    found: list[Prediction] = []
    with (progress or Progress()).bar("Predicting", len(paths)) as bar:
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            loaded = [_load(path, spec) for path in batch]
            pixels = [value for value in loaded if isinstance(value, np.ndarray)]
            rows = iter(_run(model, np.stack(pixels)) if pixels else [])
            for path, value in zip(batch, loaded, strict=True):
                if isinstance(value, str):
                    found.append(Prediction(path=str(path), error=value))
                    continue
                row = next(rows)
                best = np.argsort(-row, kind="stable")[:top]
                found.append(Prediction(path=str(path), top=tuple((classes[i], float(row[i])) for i in best)))
            bar.advance(len(batch))
    return found


def _load(path: str | Path, spec: PreprocessSpec) -> np.ndarray | str:
    try:
        return spec.load(path)
    except ImageError as err:
        return str(err)


def predict_batch(model: "keras.Model", pixels: np.ndarray, size: int) -> np.ndarray:
    """Returns the model's output on up to `size` photos, which are padded to `size`: one shape is traced once.

    Args:
        model: From `[N, S, S, 3]` RGB in [0, 255].
        pixels: `[N, S, S, 3]` uint8.
        size: Of every batch of this model.
    """
    padded = np.resize(pixels.astype(np.float32), (size, *pixels.shape[1:]))
    return model.predict_on_batch(padded)[: len(pixels)]


def _run(model: "keras.Model", pixels: np.ndarray) -> np.ndarray:
    """Runs without tracing where that takes longer than the photos themselves."""
    if len(pixels) <= 8:
        return np.asarray(model(pixels.astype(np.float32), training=False))
    return predict_batch(model, pixels, _BATCH)
