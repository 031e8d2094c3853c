"""What `import tlkit` offers: `finetune`, `resume`, `build`, `load_run` and `Run`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tlkit.errors import OptionError, did_you_mean
from tlkit.keywords import BuildKeywords, ExportKeywords, FinetuneKeywords, with_signature
from tlkit.manifest import DEFAULT_RUNS, find_run, read_manifest
from tlkit.notebook import default_progress, read_history
from tlkit.progress import Progress
from tlkit.transfer.options import FinetuneOptions

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

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

        progress = progress or default_progress()
        several = [paths] if isinstance(paths, str | Path) else list(paths)
        if wrong := [one for one in several if not isinstance(one, str | Path)]:
            kind = type(wrong[0]).__name__
            raise OptionError(f"predict takes paths of image files, not {kind}. For pixels in [0, 255] use run.model.")
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
        return evaluate(classifier, data, shifts=shift_names(shift), progress=progress or default_progress())

    @with_signature(ExportKeywords)
    def export(
        self,
        to: str = "tflite",
        precision: str = "float32",
        *,
        progress: Progress | None = None,
        **options: Unpack[ExportKeywords],
    ) -> dict[str, Any]:
        """Makes an artifact with proof and returns its entry of the manifest.

        Args:
            to: A format; `tflite`.
            precision: `float32`, `float16`, `dynamic` or `int8`.
            progress: Shows what happens; in a notebook, shown by itself.
            **options: See `tlkit.keywords.ExportKeywords`.

        Raises:
            ParityError: the artifact does not do what the model does; nothing is left behind.
            TlkitError: bad input of any kind.
        """
        from tlkit.convert.export import export
        from tlkit.convert.options import ExportOptions

        _check_names(options, ExportOptions)
        return export(self.folder, ExportOptions(to=to, precision=precision, **options), progress or default_progress())

    @property
    def history(self) -> list[dict[str, float]]:
        """What each epoch gave.

        Rows with `epoch` (from 1), `loss`, `accuracy` in [0, 1], `val_loss`, `val_accuracy`, `learning_rate` and
        `seconds`.
        """
        return read_history(self.folder)

    def plot(self) -> "Figure":
        """Draws loss and accuracy over the epochs.

        Returns:
            A matplotlib figure, which a notebook shows; `.savefig("curves.png")` saves it.

        Raises:
            MissingDependencyError: the extra `plot` is not installed.
        """
        from tlkit.notebook import history_figure

        return history_figure(self.history, title=self.folder.name)

    def _repr_html_(self) -> str:
        """What a notebook shows: accuracy, classes and curves."""
        from tlkit.notebook import run_html

        return run_html(self.folder, self.manifest, self.history)


@with_signature(FinetuneKeywords, FinetuneOptions)
def finetune(
    data: str | Path = "digits",
    *,
    base: str | Path | None = None,
    x: Any = None,  # noqa: ANN401
    y: Any = None,  # noqa: ANN401
    validation_data: tuple[Any, Any] | None = None,
    test_data: tuple[Any, Any] | None = None,
    classes: int | Sequence[str] | None = None,
    parent: "Run | str | Path | None" = None,
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    progress: Progress | None = None,
    **options: Unpack[FinetuneKeywords],
) -> Run:
    """Trains a classifier on photos in files or in memory.

        run = tlkit.finetune("photos/", base="resnet50", freeze="auto")

    Args:
        data: `DIR` with `<class>/*` or `{train,val,test}/<class>/*`; a .csv, .tsv or .parquet table of paths and
            labels; .tfrecord files; or `digits`.
        base: Name of an architecture, as `tlkit models` lists them; `keras:NAME`, a constructor of
            keras.applications; or `PATH.keras`, a model of your own. None with `parent`.
        x: Instead of `data`: images, `[N, H, W, 3]`, `[N, H, W, 1]` or `[N, H, W]`, RGB or grey in [0, 255]; or a list
            of such images of different sizes.
        y: Their classes: `[N]` numbers or names, or `[N, C]` one-hot.
        validation_data: `(x, y)` to validate on; a part of `x` when None.
        test_data: `(x, y)` to test on; a part of `x` when both are None.
        classes: How many there must be; with `x` their names, in order.
        parent: A complete run, by path or name, that goes on with its own photos and those in `data`.
        callbacks: Of Keras, called as `fit` does; `tlkit.transfer.callbacks` says which and when.
        progress: Shows what happens, such as `tlkit.progress.Screen()`; in a notebook, shown by itself.
        **options: See `tlkit.keywords.FinetuneKeywords`.

    Raises:
        TlkitError: bad input of any kind.
    """
    from tlkit.transfer.finetune import finetune

    _check_names(options, FinetuneOptions)
    chosen: dict[str, Any] = {**options, "parent": parent.folder if isinstance(parent, Run) else parent}
    if "runs" in chosen:
        chosen["runs"] = Path(chosen["runs"])
    arrays = None
    if x is not None or y is not None or validation_data is not None or test_data is not None:
        _check_arrays_alone(data, chosen["parent"])
        from tlkit.data.arrays import arrays_from

        names = None if isinstance(classes, int) else classes
        arrays, data = arrays_from(x, y, validation_data, test_data, names), "arrays"
    elif classes is not None and not isinstance(classes, int):
        raise OptionError("classes names the classes of x and y. With data, give their number, or leave it out.")
    chosen["classes"] = classes if isinstance(classes, int) else None
    made = FinetuneOptions(base=base, data=data, **chosen)
    return Run(finetune(made, progress or default_progress(), arrays, callbacks))


def _check_arrays_alone(data: str | Path, parent: str | Path | None) -> None:
    if str(data) != "digits":
        raise OptionError(f"Give either data, here {data}, or x and y.")
    if parent is not None:
        raise OptionError(
            f"parent={str(parent)!r} goes on with more photos in a folder, not with x and y. Save them as files and "
            "give their folder as data, or leave parent out."
        )


def resume(
    name: str | None = None,
    runs: str | Path = DEFAULT_RUNS,
    *,
    data: str | Path | None = None,
    x: Any = None,  # noqa: ANN401
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    progress: Progress | None = None,
) -> Run:
    """Goes on with a training that was killed or interrupted.

    Args:
        name: Of the run inside `runs`; None takes the newest that is not done.
        runs: The folder that holds it.
        data: Where the photos are now, if they have moved.
        x: The images of a run that was begun from arrays, which it does not keep.
        callbacks: Of Keras; they see the epochs from here on.
        progress: Shows what happens; in a notebook, shown by itself.

    Raises:
        TlkitError: there is nothing to go on with, or the photos or weights have changed.
    """
    from tlkit.transfer.finetune import resume

    progress = progress or default_progress()
    where = None if data is None else str(data)
    return Run(resume(name, Path(runs), {}, progress, data=where, x=x, callbacks=callbacks))


def load_run(run: str | Path | None = None, runs: str | Path = DEFAULT_RUNS) -> Run:
    """Returns a complete run: a path, a name inside `runs`, or (None) the newest.

    Raises:
        RunError: there is none.
    """
    return Run(find_run(run, Path(runs)))


@with_signature(BuildKeywords)
def build(
    name: str,
    classes: int | None = None,
    input_size: int | None = None,
    weights: str | Path | None = None,
    head: "Head" = "original",
    **options: Unpack[BuildKeywords],
) -> "keras.Model":
    """Builds an architecture of the lectures, or one that others made.

        model = tlkit.build("googlenet", classes=10)

    Args:
        name: As `tlkit models` lists them; `keras:NAME` or `PATH.keras` (with `head="gap"`).
        classes: Width of the final layer; the paper's when None.
        input_size: Side of the square input in pixels; the paper's when None.
        weights: `imagenet`, a file, `base` (those in `PATH.keras`), or None for random ones.
        head: `original` or `gap`.
        **options: See `tlkit.keywords.BuildKeywords`.

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


def _check_names(options: Mapping[str, Any], of: type) -> None:
    """Refuses options that do not exist, with the closest that does."""
    known = [field.name for field in fields(of)]
    if unknown := [name for name in options if name not in known]:
        raise OptionError(f"There is no option {unknown[0]!r}.{did_you_mean(unknown[0], known)}")
