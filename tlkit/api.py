"""What `import tlkit` offers: `finetune`, `resume`, `build`, `load_run` and `Run`."""

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import OptionError, did_you_mean
from tlkit.manifest import DEFAULT_RUNS, find_run, read_manifest
from tlkit.progress import Progress

if TYPE_CHECKING:
    import keras

    from tlkit.data.arrays import Arrays
    from tlkit.evaluate import Evaluation
    from tlkit.evaluate_multi import MultiLabelEvaluation
    from tlkit.models.architecture import Head
    from tlkit.predict import Prediction


class Run:
    """One training's folder.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def manifest(self) -> dict[str, Any]:
        """What `run.json` says (contract 1), read anew."""
        return read_manifest(self.folder)

    @cached_property
    def model(self) -> "keras.Model":
        """The trained model, from `[N, S, S, 3]` float32 RGB in [0, 255] to `[N, classes]` probabilities."""
        from tlkit.convert.export import load_model

        return load_model(self.folder)

    def predict(
        self,
        paths: Sequence[str | Path] | str | Path,
        *,
        top: int = 5,
        threshold: float = 0.0,
        progress: Progress | None = None,
    ) -> "list[Prediction]":
        """Classifies image files; `tlkit.predict.predict` says what comes back."""
        from tlkit.classifier import KerasClassifier
        from tlkit.predict import predict

        several = [paths] if isinstance(paths, str | Path) else list(paths)
        classifier = KerasClassifier(self.folder, lambda: self.model)
        return list(predict(classifier, several, top=top, threshold=threshold, progress=progress))

    def evaluate(
        self, data: str | Path | None = None, *, shift: str | Sequence[str] = (), progress: Progress | None = None
    ) -> "Evaluation | MultiLabelEvaluation":
        """Measures the model on a folder of photos, or on the run's own test photos; see `tlkit.evaluate.evaluate`.

        `shift` names changes of the photos: `["brightness", "blur"]`, or `"brightness,blur"`.
        """
        from tlkit.classifier import KerasClassifier
        from tlkit.evaluate import evaluate
        from tlkit.shifts import shift_names

        classifier = KerasClassifier(self.folder, lambda: self.model)
        return evaluate(classifier, data, shifts=shift_names(shift), progress=progress)

    def export(
        self,
        to: str = "tflite",
        precision: str = "float32",
        *,
        progress: Progress | None = None,
        **options: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Makes an artifact with proof and returns its entry of the manifest; see `ExportOptions` for the options."""
        from tlkit.convert.export import export
        from tlkit.convert.options import ExportOptions

        _check_names(options, ExportOptions)
        return export(self.folder, ExportOptions(to=to, precision=precision, **options), progress)


def finetune(
    data: str | Path = "digits",
    *,
    base: str,
    x: Any = None,  # noqa: ANN401
    y: Any = None,  # noqa: ANN401
    validation_data: tuple[Any, Any] | None = None,
    test_data: tuple[Any, Any] | None = None,
    classes: int | Sequence[str] | None = None,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401
) -> Run:
    """Trains a classifier on photos in files or in memory.

    Args:
        data: `DIR` with `<class>/*` or `{train,val,test}/<class>/*`; a .csv, .tsv or .parquet table of paths and
            labels; .tfrecord files; or `digits`.
        base: Name of an architecture, as `tlkit models` lists them; `keras:NAME`, a constructor of
            keras.applications; or `PATH.keras`, a model of your own.
        x: Instead of `data`: images, `[N, H, W, 3]`, `[N, H, W, 1]` or `[N, H, W]`, RGB or grey in [0, 255]; or a list
            of such images of different sizes.
        y: Their classes: `[N]` numbers or names, or `[N, C]` one-hot.
        validation_data: `(x, y)` to validate on; a part of `x` when None.
        test_data: `(x, y)` to test on; a part of `x` when both are None.
        classes: How many there must be; with `x` their names, in order.
        progress: Shows what happens, such as `tlkit.progress.Screen()`.
        **options: The fields of `tlkit.transfer.options.FinetuneOptions`.

    Raises:
        TlkitError: bad input of any kind.
    """
    from tlkit.transfer.finetune import finetune
    from tlkit.transfer.options import FinetuneOptions

    _check_names(options, FinetuneOptions)
    if "runs" in options:
        options["runs"] = Path(options["runs"])
    arrays = None
    if x is not None or y is not None or validation_data is not None or test_data is not None:
        arrays, data = _arrays(data, x, y, validation_data, test_data, classes), "arrays"
    elif classes is not None and not isinstance(classes, int):
        raise OptionError("classes names the classes of x and y. With data, give their number, or leave it out.")
    count = classes if isinstance(classes, int) else None
    return Run(finetune(FinetuneOptions(base=base, data=data, classes=count, **options), progress, arrays))


def _arrays(
    data: str | Path,
    x: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    validation: tuple[Any, Any] | None,
    test: tuple[Any, Any] | None,
    classes: int | Sequence[str] | None,
) -> "Arrays":
    from tlkit.data.arrays import Arrays

    if x is None or y is None:
        raise OptionError("x and y go together: give both, images and their classes.")
    if str(data) != "digits":
        raise OptionError(f"Give either data, here {data}, or x and y.")
    for name, pair in (("validation_data", validation), ("test_data", test)):
        if pair is not None and (not isinstance(pair, tuple | list) or len(pair) != 2):
            raise OptionError(f"{name} takes a pair: (x, y).")
    names = None if isinstance(classes, int) else classes
    return Arrays(x=x, y=y, validation=validation, test=test, classes=names)


def resume(
    name: str | None = None,
    runs: str | Path = DEFAULT_RUNS,
    *,
    data: str | Path | None = None,
    x: Any = None,  # noqa: ANN401
    progress: Progress | None = None,
) -> Run:
    """Goes on with a training that was killed or interrupted.

    Args:
        name: Of the run inside `runs`; None takes the newest that is not done.
        runs: The folder that holds it.
        data: Where the photos are now, if they have moved.
        x: The images of a run that was begun from arrays, which it does not keep.
        progress: Shows what happens.

    Raises:
        TlkitError: there is nothing to go on with, or the photos or weights have changed.
    """
    from tlkit.transfer.finetune import resume

    return Run(resume(name, Path(runs), {}, progress, data=None if data is None else str(data), x=x))


def load_run(run: str | Path | None = None, runs: str | Path = DEFAULT_RUNS) -> Run:
    """Returns a complete run: a path, a name inside `runs`, or (None) the newest.

    Raises:
        RunError: there is none.
    """
    return Run(find_run(run, Path(runs)))


def build(
    name: str,
    classes: int | None = None,
    input_size: int | None = None,
    weights: str | Path | None = None,
    head: "Head" = "original",
    **options: Any,  # noqa: ANN401
) -> "keras.Model":
    """Builds an architecture of the lectures, or one that others made.

    Args:
        name: As `tlkit models` lists them; `keras:NAME` or `PATH.keras` (with `head="gap"`).
        classes: Width of the final layer; the paper's when None.
        input_size: Side of the square input in pixels; the paper's when None.
        weights: `imagenet`, a file, `base` (those in `PATH.keras`), or None for random ones.
        head: `original` or `gap`.
        **options: More arguments of the family's builder, such as `dropout`, `width_multiplier`, `groups` of AlexNet,
            `shortcut` of a ResNet or `auxiliaries` of GoogLeNet; `base_input` for `PATH.keras`.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        TlkitError: an unknown name, a size that does not fit, weights that don't fit or can't be had.
    """
    from tlkit.models import bases, foreign, foreign_weights, registry
    from tlkit.models.auxiliary import without_auxiliaries
    from tlkit.models.imagenet import fetch_imagenet
    from tlkit.models.weights import load_weights

    architecture = bases.find(str(name), input_size=input_size, base_input=options.pop("base_input", None))
    model = registry.build(architecture, classes=classes, input_size=input_size, head=head, **options)
    if weights in (None, "none"):
        foreign.forget()
        return model
    if architecture.foreign:
        foreign_weights.load(model, architecture, str(weights))
        return model
    path = Path(weights).expanduser() if weights != "imagenet" else None
    if path is None:
        top = architecture.takes_top(head) or (head == "original" and classes in (None, 1000))
        width = options.get("width_multiplier", 1.0)
        path = fetch_imagenet(architecture, input_size=model.input.shape[1], top=top, width_multiplier=width)
    load_weights(without_auxiliaries(model), architecture, path)
    return model


def _check_names(options: dict[str, Any], of: type) -> None:
    """Refuses options that do not exist, with the closest that does."""
    known = [field.name for field in fields(of)]
    if unknown := [name for name in options if name not in known]:
        raise OptionError(f"There is no option {unknown[0]!r}.{did_you_mean(unknown[0], known)}")
