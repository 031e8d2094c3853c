"""What commands print where a photo may have any number of labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.common import print_table

if TYPE_CHECKING:
    from tlkit.evaluate_multi import MultiLabelEvaluation

# Above this a list of thresholds fits no line.
_THRESHOLDS = 20


def print_evaluation(found: "MultiLabelEvaluation") -> None:
    """Prints what `tlkit evaluate` measured."""
    click.echo(f"Model                {found.model}")
    click.echo(f"Photos               {found.images} in {found.data}")
    click.echo(f"mAP                  {_percent(found.map)}, mean average precision of the classes")
    click.echo(
        f"F1                   {found.micro_f1:.1%} of all decisions, {_percent(found.macro_f1)} mean of classes"
    )
    click.echo(f"Right decisions      {found.accuracy:.1%}, one for each photo and class")
    click.echo(f"All labels right     {found.subset_accuracy:.1%} of the photos")
    rows = [["class", "photos", "average precision", "threshold", "precision", "recall", "F1"]]
    for one in found.classes:
        shares = (one.precision, one.recall, one.f1)
        cells = [_percent(one.average_precision), f"{one.threshold:.2f}", *(f"{share:.1%}" for share in shares)]
        rows.append([one.name, str(one.images), *cells])
    click.echo()
    print_table(rows, right=range(1, 7))
    if found.shifts:
        rows = [["shift", "strength", "mAP", "change"], ["none", "", _percent(found.map), ""]]
        for shift in found.shifts:
            change = "-" if shift.map_change is None else f"{100 * shift.map_change:+.1f} points"
            rows.append([shift.shift, f"{shift.strength:g} {shift.unit}", _percent(shift.map), change])
        click.echo()
        print_table(rows, right=(2, 3))


def split_text(part: dict[str, Any]) -> str:
    """Returns the figures of one split of a run in a line."""
    return (
        f"mAP {_percent(part['map'])}, micro F1 {part['micro_f1']:.1%}, {part['accuracy']:.1%} of decisions right, "
        f"of {part['images']} photos"
    )


def thresholds_text(classes: Sequence[str], thresholds: Sequence[float]) -> str:
    """Returns the threshold of each class in a line."""
    pairs = [f"{name} {value:.2f}" for name, value in zip(classes, thresholds, strict=True)]
    left = f" and {len(pairs) - _THRESHOLDS} more: --json" if len(pairs) > _THRESHOLDS else ""
    return ", ".join(pairs[:_THRESHOLDS]) + left


def print_hardest(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the classes of a run with the smallest average precision."""
    measured = [row for row in rows if row["average_precision"] is not None]
    worst = sorted(measured, key=lambda row: row["average_precision"])[:5]
    if len(rows) > 2 and worst and worst[0]["average_precision"] < 1:
        table = [["hardest classes", "photos", "average precision", "precision", "recall"]]
        for row in worst:
            shares = (row["average_precision"], row["precision"], row["recall"])
            table.append([row["class"], str(row["images"]), *(f"{share:.1%}" for share in shares)])
        print_table(table, right=(1, 2, 3, 4))


def print_parity(parity: dict[str, Any]) -> None:
    """Prints how an artifact compares with the Keras model."""
    click.echo(f"Agrees with Keras    on {parity['decision_agreement']:.1%} of the decisions, at the run's thresholds")
    click.echo(f"mAP                  {_percent(parity['map'])}, Keras {_percent(parity['keras_map'])}")
    click.echo(f"Micro F1             {parity['micro_f1']:.1%}, Keras {parity['keras_micro_f1']:.1%}")


def parity_text(parity: dict[str, Any]) -> str:
    """Returns the same for a list of artifacts."""
    return (
        f"agrees with Keras on {parity['decision_agreement']:.1%} of the decisions for {parity['images']} photos, "
        f"mAP {_percent(parity['map'])}"
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
