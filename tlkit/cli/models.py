"""`tlkit models`: from the registry alone."""

from typing import Any

import click

from tlkit.cli.common import HELP, columns, json_option, left_out_text, print_json, print_table
from tlkit.cli.figures import Sources, accuracy_json, megabytes, millions, per_cent, wrapped
from tlkit.errors import OptionError
from tlkit.models import bases, registry
from tlkit.models.architecture import Accuracy, Architecture, Published

# In the order in which a narrow terminal goes without them.
_SPARE = ("verified", "MB", "input")
_FOOTNOTES = (
    "Parameters, MACs (millions) and MB (10^6 bytes at float32) at the input and the classes of the paper.",
    "top-1 / top-5: accuracy on ImageNet in per cent, as the papers state it; the lectures quote alexnet, vgg16, "
    "vgg19, resnet50 and googlenet. Weights: the accuracy of the weights that are offered; - where none are.",
)
_VERIFIED = "Verified: targets for which an export is proven."


@click.command("models", context_settings=HELP)
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the architectures with their size, cost and published accuracy; or all that is known of one.

    On a narrow terminal some columns are left out; COLUMNS sets another width.

    \b
    Example:
      tlkit models
      tlkit models vgg16
    """
    if name is not None and bases.is_foreign(name):
        raise OptionError(
            f"tlkit models tells of tlkit's own architectures. What {name} is made of: tlkit summary {name}"
        )
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
        counts = [f"{a.params:,}", millions(a.macs), megabytes(4 * a.params), str(a.input_size)]
        cells = [sources.cell(a.accuracy), sources.cell(a.published_accuracy)]
        targets = ", ".join(dict.fromkeys(one.partition(" ")[0] for one in a.verified)) or "-"
        rows.append([a.name, *counts, *cells, targets])
    left_out = print_table(rows, right=(1, 2, 3, 4), spare=_SPARE)
    click.echo()
    for line in sources.lines():
        click.echo(wrapped(line, columns(), indent="    "))
    verified = [] if "verified" in left_out else [_VERIFIED]
    for line in (
        *_FOOTNOTES,
        *verified,
        "More of one: tlkit models NAME",
        *left_out_text(left_out, "COLUMNS=120 tlkit models"),
    ):
        click.echo(wrapped(line, columns()))


def _show(a: Architecture) -> None:
    lines = [
        ("Parameters", f"{a.params:,} at {a.params_classes} classes, {megabytes(4 * a.params)} MB at float32"),
        ("Trainable", f"{a.trainable_params:,}; the others are statistics" if a.trainable_params else "all"),
        ("MACs", f"{a.macs:,} at {a.input_size} pixels" if a.macs else "not counted"),
        ("Depth", f"{a.depth} weighted layers" if a.depth else "not counted"),
        ("Input", f"{a.input_size} pixels; with --head gap {a.min_input_size} or more"),
        ("Width", "--width scales the channels" if a.width_multiplier else "fixed"),
        ("Accuracy", _accuracy_text(a.accuracy)),
        ("Weights", _weights_text(a.published) if a.published else "none"),
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


def _weights_text(published: Published) -> str:
    size = f"{published.megabytes:,.1f} MB" if published.megabytes else "size not stated"
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
