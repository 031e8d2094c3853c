"""Photos to classes, with any classifier."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ImageError
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress

if TYPE_CHECKING:
    import keras

    from tlkit.classifier import Classifier

_BATCH = 32
# Up to so many photos, threads cost more than they save.
_FEW = 4
UNKNOWN = "unknown"

Loaded = np.ndarray | str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one file shows, or why it can't be told.

    Attributes:
        path: As it was given.
        label: The most probable class, or `unknown` where that is less probable than the threshold; None on an error,
            and where a photo may have any number of labels.
        top: Classes with probabilities, most probable first.
        labels: Where a photo may have any number of labels: those at or above their thresholds, likewise; else None.
        error: The reason why the file could not be classified.
    """

    path: str
    label: str | None = None
    top: tuple[tuple[str, float], ...] = ()
    labels: tuple[tuple[str, float], ...] | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as `--json` prints it."""
        if self.error:
            return {"path": self.path, "error": self.error}
        top = [{"class": name, "probability": value} for name, value in self.top]
        if self.labels is not None:
            return {"path": self.path, "labels": [{"class": n, "probability": p} for n, p in self.labels], "top": top}
        return {"path": self.path, "class": self.label, "top": top}

    def to_row(self, width: int, *, multi_label: bool = False) -> list[object]:
        """Returns it as a row of the CSV: path, labels as `a|b` if several are allowed, `width` pairs, error."""
        first = self.label if self.label is not None else self.top[0][0] if self.top else ""
        pairs = [(first, self.top[0][1]), *self.top[1:]] if self.top else []
        cells = [cell for name, value in pairs for cell in (name, f"{value:.6f}")]
        labels = ["|".join(name for name, _ in self.labels or ())] if multi_label else []
        return [self.path, *labels, *cells, *[""] * (2 * width - len(cells)), self.error or ""]


def csv_header(width: int, *, multi_label: bool = False) -> list[str]:
    """Returns the names of `Prediction.to_row`'s columns."""
    names = [f"{name}_{i}" for i in range(2, width + 1) for name in ("class", "probability")]
    return ["path", *["labels"] * multi_label, "class", "probability", *names, "error"]


def predict(
    classifier: "Classifier",
    paths: Sequence[str | Path],
    *,
    top: int = 5,
    threshold: float = 0.0,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Classifies files. One that can't be read gets an error; the rest are done.

    Args:
        classifier: What classifies them.
        paths: Image files.
        top: How many classes to return for each.
        threshold: The probability below which the most probable class is not believed; where a photo may have any
            number of labels, what takes the place of every class's own threshold, if above 0.
        progress: Shows a bar.

    Yields:
        One prediction for each path, in order, as soon as its batch is done.

    Raises:
        TlkitError: the model is broken.
    """
    thresholds = classifier.thresholds
    if thresholds is not None and threshold:
        thresholds = (threshold,) * len(thresholds)
    with (progress or Progress()).bar("Predicting", len(paths)) as bar:
        for batch, loaded in _decoded(paths, classifier.spec):
            pixels = [value for value in loaded if isinstance(value, np.ndarray)]
            rows = iter(classifier.probabilities(np.stack(pixels)) if pixels else [])
            bar.advance(len(batch))
            for path, value in zip(batch, loaded, strict=True):
                if isinstance(value, str):
                    yield Prediction(path=str(path), error=value)
                    continue
                row = next(rows)
                best = np.argsort(-row, kind="stable")[:top]
                found = tuple((classifier.classes[i], float(row[i])) for i in best)
                if thresholds is not None:
                    yield Prediction(path=str(path), top=found, labels=_labels(row, thresholds, classifier.classes))
                    continue
                yield Prediction(path=str(path), label=UNKNOWN if found[0][1] < threshold else found[0][0], top=found)


def _labels(row: np.ndarray, thresholds: Sequence[float], classes: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Returns what is at or above its threshold, most probable first."""
    order = np.argsort(-row, kind="stable")
    return tuple((classes[i], float(row[i])) for i in order if row[i] >= thresholds[i])


def _decoded(paths: Sequence[str | Path], spec: PreprocessSpec) -> Iterator[tuple[Sequence[str | Path], list[Loaded]]]:
    """Yields batches of paths with pixels, or reasons; the next batch is decoded while this one is classified."""
    if len(paths) <= _FEW:
        yield paths, [_load(path, spec) for path in paths]
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="tlkit-decode")
    try:
        batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
        started = [pool.submit(_load, path, spec) for path in batches[0]]
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            ahead = [pool.submit(_load, path, spec) for path in following]
            yield batch, [future.result() for future in started]
            started = ahead
    finally:
        pool.shutdown(cancel_futures=True)


def _load(path: str | Path, spec: PreprocessSpec) -> Loaded:
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
