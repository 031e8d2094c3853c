"""What classifies photos: the model of a run, or an exported file. Commands that use one need not know which.

NumPy, Keras and runtimes load when they are needed, in that order and not earlier.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlkit.convert.tflite_process import TfliteProcess
from tlkit.errors import RunError, TlkitError, did_you_mean
from tlkit.manifest import DEFAULT_RUNS, find_run, read_manifest
from tlkit.manifest_fields import MULTI_LABEL, thresholds_of, thresholds_problem

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tlkit.preprocess import PreprocessSpec

BATCH = 32
# Up to so many photos, Keras takes longer to trace a graph than to do without one.
_UNTRACED = 8


class Classifier(ABC):
    """From pixels to probabilities. Use it in a `with` block, which ends what it started.

    Attributes:
        kind: What it was made from.
        name: The path of that.
        classes: Names, in the order of the probabilities.
        spec: How a photo becomes pixels.
        manifest: Of the run, also of that in whose folder an artifact lies; None for one elsewhere.
        folder: Of that run.
        thresholds: Of each class, where a photo may have any number of labels; None where it has one.
        remarks: What a user should know of it.
    """

    kind: Literal["run", "artifact"]
    name: str
    classes: tuple[str, ...]
    spec: "PreprocessSpec"
    manifest: dict[str, Any] | None = None
    folder: Path | None = None
    thresholds: tuple[float, ...] | None = None
    remarks: tuple[str, ...] = ()

    def __enter__(self) -> "Classifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def probabilities(self, pixels: "np.ndarray") -> "np.ndarray":
        """Returns `[N, classes]` float32 probabilities of `[N, S, S, 3]` uint8 pixels.

        Raises:
            TlkitError: the model is broken: it died, or gives what are no numbers.
        """
        import numpy as np

        parts = [self._run(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        found = np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)
        if not np.isfinite(found).all():
            raise TlkitError(f"{self.name} gives probabilities that are no numbers: it is damaged, or badly trained.")
        return found

    def _decide_by(self, about: dict[str, Any]) -> None:
        """Takes thresholds from a manifest, or from what an artifact says of itself.

        Raises:
            TlkitError: they are no thresholds.
        """
        if about.get("task") != MULTI_LABEL:
            return
        thresholds = thresholds_of(about)
        if problem := thresholds_problem(thresholds, len(self.classes)):
            raise TlkitError(f"The thresholds in {self.name} can't be used: {problem}. Export it again.")
        self.thresholds = tuple(thresholds)
        if "thresholds" not in about:
            self.remarks = (f"{self.name} names no thresholds: a class is taken to be there from 50% on.",)

    @abstractmethod
    def _run(self, pixels: "np.ndarray") -> "np.ndarray":
        """Classifies 1 to `BATCH` photos."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the model."""


class KerasClassifier(Classifier):
    """The model of a run, loaded when the first photo comes.

    Args:
        folder: A complete run.
        load: Returns its model.
    """

    kind = "run"

    def __init__(self, folder: Path, load: "Callable[[], keras.Model]") -> None:
        from tlkit.preprocess import PreprocessSpec

        self.name, self.folder = str(folder), folder
        self.manifest = manifest = read_manifest(folder)
        self.classes = tuple(manifest["classes"])
        self._decide_by(manifest)
        self.spec = PreprocessSpec.from_dict(manifest["preprocess"])
        self._load = load
        self._model: keras.Model | None = None

    def _run(self, pixels: "np.ndarray") -> "np.ndarray":
        import numpy as np

        from tlkit.predict import predict_batch

        if self._model is None:
            self._model = self._load()
        if len(pixels) <= _UNTRACED:
            return np.asarray(self._model(pixels.astype(np.float32), training=False))
        return predict_batch(self._model, pixels, BATCH)

    def close(self) -> None:
        """Lets go of the model."""
        self._model = None


class TfliteClassifier(Classifier):
    """A .tflite file, which brings its labels and its preprocessing, in a child process.

    Raises:
        TlkitError: there is no such file, or it is not a classifier that tlkit exported.
    """

    kind = "artifact"

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            beside = [other.name for other in path.parent.glob("*.tflite")]
            raise TlkitError(f"There is no file {path}.{did_you_mean(path.name, beside)}")
        self.name = str(path)
        self._process = TfliteProcess(path)
        try:
            from tlkit.preprocess import PreprocessSpec  # loads NumPy and Pillow, while the child loads its part

            found = self._process.describe()
            self.classes = tuple(found["labels"])
            spec = found["about"].get("preprocess")
            self.spec = PreprocessSpec.from_dict(spec if isinstance(spec, dict) else {})
            self._decide_by({**found["about"], "classes": found["labels"]})
            self._check(found["input"], found["output"])
            self.manifest = _manifest_around(path, self.classes)
            self.folder = path.resolve().parents[1] if self.manifest is not None else None
        except BaseException:
            self.close()
            raise

    def _check(self, given: dict[str, Any], output: dict[str, Any]) -> None:
        """Checks that the model takes what the preprocessing gives, and gives one number for each label."""
        wanted = [1, self.spec.input_size, self.spec.input_size, 3]
        raw = given["dtype"] == "uint8" and given["scale"] in (None, 1.0) and given["zero_point"] in (None, 0)
        if given["shape"] != wanted or not raw:
            raise TlkitError(
                f"{self.name} takes {given['dtype']} {given['shape']}, its preprocessing gives uint8 {wanted} raw "
                "pixels: these parts are not of one model. Export it again with: tlkit export --to tflite"
            )
        if output["shape"] != [1, len(self.classes)]:
            raise TlkitError(
                f"{self.name} gives {output['shape']} values and has {len(self.classes)} labels: these parts are not "
                "of one model. Export it again with: tlkit export --to tflite"
            )

    def _run(self, pixels: "np.ndarray") -> "np.ndarray":
        import numpy as np

        found = np.frombuffer(self._process.run(pixels.tobytes(), len(pixels)), np.float32)
        if found.size != len(pixels) * len(self.classes):
            raise TlkitError(f"{self.name} gives another number of values than it says: the file is damaged.")
        return found.reshape(len(pixels), len(self.classes))

    def close(self) -> None:
        """Ends the child process."""
        self._process.close()


def _manifest_around(path: Path, classes: tuple[str, ...]) -> dict[str, Any] | None:
    """Returns the manifest of the run in whose folder an artifact lies; None when it lies elsewhere."""
    try:
        manifest = read_manifest(path.resolve().parents[1])
    except (RunError, IndexError):
        return None
    return manifest if tuple(manifest["classes"]) == classes else None


def open_classifier(model: str | Path | None, runs: Path = DEFAULT_RUNS) -> Classifier:
    """Opens what a user names: a `.tflite` file, or a run as `find_run` takes it (None: the newest).

    Raises:
        TlkitError: there is no such thing, or it can't be used.
    """
    if model is not None and Path(model).suffix.lower() == ".tflite" and not Path(model).is_dir():
        return TfliteClassifier(Path(model))
    folder = find_run(model, runs)
    return KerasClassifier(folder, lambda: _load(folder))


def _load(folder: Path) -> "keras.Model":
    from tlkit.lazy import import_keras

    import_keras()
    from tlkit.convert.export import load_model

    return load_model(folder)
