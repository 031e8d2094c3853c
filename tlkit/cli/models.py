"""`tlkit models`: from the registry alone."""

from typing import Any

import click

from tlkit.cli.common import HELP, json_option, print_json, print_table
from tlkit.cli.figures import Sources, accuracy_json, megabytes, millions, per_cent
from tlkit.models import registry
from tlkit.models.architecture import Accuracy, Architecture, Published

_FOOTNOTE = (
    "Parameters, MACs (millions) and MB (10^6 bytes at float32) at the input and the classes of the paper.\n"
    "top-1 / top-5 on ImageNet in per cent, as the lectures give it. Weights: those of the weights offered, or yes.\n"
    "Verified: targets for which an export is proven. More of one: tlkit models NAME"
)


@click.command("models", context_settings=HELP)
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the architectures with their size, cost and published accuracy; or all that is known of one.

    \b
    Example:
      tlkit models
      tlkit models vgg16
    """
    chosen = registry.ARCHITECTURES if name is None else (registry.find(name),)
    if as_json:
        found = [_about(architecture) for architecture in chosen]
        print_json(found if name is None else found[0])
    elif name is None:
        _list()
    else:
        _show(chosen[0])


def _list() -> None:
    sources = Sources()
    rows = [["name", "parameters", "MACs", "MB", "input", "top-1 / top-5", "weights", "verified"]]
    for a in registry.ARCHITECTURES:
        weights = sources.cell(theirs) if (theirs := _differing(a)) else "yes" if a.published else "-"
        counts = [f"{a.params:,}", millions(a.macs), megabytes(4 * a.params), str(a.input_size)]
        targets = ", ".join(dict.fromkeys(one.partition(" ")[0] for one in a.verified)) or "-"
        rows.append([a.name, *counts, sources.cell(a.accuracy), weights, targets])
    print_table(rows, right=(1, 2, 3, 4))
    click.echo("\n".join(["", *sources.lines(), _FOOTNOTE]))


def _show(a: Architecture) -> None:
    lines = [
        ("Parameters", f"{a.params:,} at {a.params_classes} classes, {megabytes(4 * a.params)} MB at float32"),
        ("Trainable", f"{a.trainable_params:,}; the others are statistics" if a.trainable_params else "all"),
        ("MACs", f"{a.macs:,} at {a.input_size} pixels" if a.macs else "not counted"),
        ("Depth", f"{a.depth} weighted layers" if a.depth else "not counted"),
        ("Input", f"{a.input_size} pixels; with --head gap {a.min_input_size} or more"),
        ("Width", "--width scales the channels" if a.width_multiplier else "fixed"),
        ("Accuracy", _accuracy_text(a.accuracy)),
        ("Weights", _published_text(a.published) if a.published else "none"),
    ]
    if a.published:
        lines += [
            ("From", f"{a.published.source}: {a.published.url}"),
            ("Theirs", _accuracy_text(a.published_accuracy)),
        ]
    lines += [
        ("Verified", verified_text(a.verified)),
        ("Default head", a.head),
        ("Stages", f"{', '.join(a.stages)}, head"),
        ("Freeze them", f"--freeze all-but-head, none, up-to:{a.stages[-2]}, last:1"),
        ("Layers", f"tlkit summary {a.name}"),
    ]
    click.echo(f"{a.title} ({a.paper})")
    for what, text in lines:
        click.echo(f"{what:<15}{text}")


def verified_text(verified: tuple[str, ...]) -> str:
    """Returns `("tflite float32", "tflite int8")` as `tflite float32 int8`."""
    by_target: dict[str, list[str]] = {}
    for one in verified:
        target, _, precision = one.partition(" ")
        by_target.setdefault(target, []).append(precision)
    return ", ".join(" ".join([target, *precisions]).strip() for target, precisions in by_target.items()) or "-"


def _differing(a: Architecture) -> Accuracy | None:
    """The accuracy of the weights offered, where it is another than the lectures' figure."""
    theirs, given = a.published_accuracy, a.accuracy
    same = theirs and given and (theirs.top1, theirs.top5) == (given.top1, given.top5)
    return None if same else theirs


def _published_text(published: Published) -> str:
    size = "size not stated" if published.megabytes is None else f"{published.megabytes:,.1f} MB"
    return f"imagenet, {size}, {published.licence}"


def _accuracy_text(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "none published"
    return f"top-1 {per_cent(accuracy.top1)}, top-5 {per_cent(accuracy.top5)} per cent on ImageNet ({accuracy.source})"


def _about(a: Architecture) -> dict[str, Any]:
    return {
        "name": a.name,
        "title": a.title,
        "paper": a.paper,
        "input_size": a.input_size,
        "min_input_size": a.min_input_size,
        "parameters": a.params,
        "parameters_at_classes": a.params_classes,
        "trainable_parameters": a.trainable_params or a.params,
        "macs": a.macs,
        "depth": a.depth,
        "float32_bytes": 4 * a.params,
        "int8_bytes": a.params,
        "width_multiplier": a.width_multiplier,
        "accuracy": accuracy_json(a.accuracy),
        "weights": "imagenet" if a.published else "none",
        "weights_source": a.published.source if a.published else None,
        "weights_accuracy": accuracy_json(a.published_accuracy),
        "verified": list(a.verified),
        "head": a.head,
        "stages": list(a.stages),
    }
