"""`tlkit evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlkit.cli.common import HELP, json_option, print_json, print_table, runs_option
from tlkit.cli.multi_label import print_evaluation

if TYPE_CHECKING:
    from tlkit.evaluate import Evaluation

# Above this a matrix fits no screen.
_MATRIX = 20


@click.command("evaluate", context_settings=HELP)
@click.argument("model", required=False, metavar="[RUN|ARTIFACT]")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Folder with <class>/*, or with test/<class>/*; or a table or .tfrecord files as for finetune. Default: the "
    "test photos of the run.",
)
@click.option(
    "--shift",
    default="",
    metavar="NAMES",
    help="Show accuracy under changes of the photos, too: brightness,blur,rotation,noise,jpeg",
)
@runs_option
@json_option
def command(model: str | None, data: Path | None, shift: str, runs: Path, as_json: bool) -> None:
    """Measure a run, or an exported file, on any folder of photos.

    RUN is a path or a name, ARTIFACT a .tflite file; the newest run by default. Folders are matched with the model's
    classes by name, and some classes may be missing.

    \b
    Example:
      tlkit evaluate --data photos/
      tlkit evaluate model.int8.tflite --data photos/ --shift brightness,blur
    """
    from tlkit.classifier import open_classifier
    from tlkit.progress import Screen

    with open_classifier(model, runs) as classifier:
        from tlkit.evaluate import evaluate
        from tlkit.evaluate_multi import MultiLabelEvaluation
        from tlkit.shifts import shift_names

        found = evaluate(classifier, data, shifts=shift_names(shift), progress=Screen())
    if as_json:
        print_json(found.to_dict())
        return
    if isinstance(found, MultiLabelEvaluation):
        print_evaluation(found)
        return
    _print_figures(found)
    _print_classes(found)
    if len(_shown(found)) <= _MATRIX:
        _print_matrix(found)
    else:
        _print_confusions(found)
    if found.shifts:
        _print_shifts(found)


def _print_figures(found: "Evaluation") -> None:
    click.echo(f"Model                {found.model}")
    click.echo(f"Photos               {found.images} in {found.data}")
    click.echo(f"Accuracy             {found.accuracy:.1%}")
    if len(found.classes) > 5:
        click.echo(f"Top-5 accuracy       {found.top5_accuracy:.1%}")
    click.echo(
        f"Calibration error    {found.calibration_error:.1%}, how far confidence is from accuracy (ECE, 15 bins)"
    )


def _print_classes(found: "Evaluation") -> None:
    rows = [["class", "photos", "precision", "recall"]]
    for index in _shown(found):
        one, predicted = found.classes[index], sum(row[index] for row in found.confusion)
        precision = f"{one.precision:.1%}" if predicted else "-"
        recall = f"{one.recall:.1%}" if one.images else "-"
        rows.append([one.name, str(one.images), precision, recall])
    click.echo()
    print_table(rows, right=(1, 2, 3))
    if left := len(found.classes) - len(rows) + 1:
        click.echo(f"{left} more classes have no photo here, and none was taken for them.")


def _shown(found: "Evaluation") -> list[int]:
    """Returns the classes that have photos, or for which photos were taken."""
    taken = [sum(column) for column in zip(*found.confusion, strict=True)]
    return [i for i, one in enumerate(found.classes) if one.images or taken[i]]


def _print_matrix(found: "Evaluation") -> None:
    shown = _shown(found)
    rows = [["label \\ prediction", *(found.classes[i].name for i in shown)]]
    rows += [[found.classes[i].name, *(str(found.confusion[i][j]) for j in shown)] for i in shown]
    click.echo()
    print_table(rows, right=range(1, len(rows[0])))


def _print_confusions(found: "Evaluation") -> None:
    """Prints the ten most frequent confusions of two classes."""
    wrong = [
        (count, label, prediction)
        for label, counts in enumerate(found.confusion)
        for prediction, count in enumerate(counts)
        if count and label != prediction
    ]
    rows = [["taken", "for", "photos"]]
    for count, label, prediction in sorted(wrong, key=lambda one: -one[0])[:10]:
        rows.append([found.classes[label].name, found.classes[prediction].name, str(count)])
    if wrong:
        click.echo()
        print_table(rows, right=(2,))


def _print_shifts(found: "Evaluation") -> None:
    rows = [["shift", "strength", "accuracy", "change"], ["none", "", f"{found.accuracy:.1%}", ""]]
    for one in found.shifts:
        strength = f"{one.strength:g} {one.unit}"
        rows.append([one.shift, strength, f"{one.accuracy:.1%}", f"{100 * one.accuracy_change:+.1f} points"])
    click.echo()
    print_table(rows, right=(2, 3))
