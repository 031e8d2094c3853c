"""`tlkit summary`."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.common import HELP, columns, json_option, left_out_text, print_json, print_table
from tlkit.cli.figures import Sources, accuracy_json, markdown_table, megabytes, millions, wrapped
from tlkit.errors import OptionError, some

if TYPE_CHECKING:
    from tlkit.models.accounting import Summary
    from tlkit.models.compare import Figures

_FOOTNOTE = (
    "1 MAC = 2 FLOPs, 1 MB = 10^6 bytes, 1 KiB = 1024 bytes. KiB: the activations of one image at float32; - where a\n"
    "layer works in place."
)
# Of the comparison: columns with numbers, and those that a narrow terminal goes without, in order.
_COUNTS = (1, 2, 3, 4, 5, 6)
_SPARE = ("int8 MB", "float32 MB", "input", "depth")


@click.command("summary", context_settings=HELP)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--compare", is_flag=True, help="Put several architectures side by side; `all` is every one.")
@click.option("--classes", type=click.IntRange(2), metavar="N", help="Default: the paper's.")
@click.option("--input-size", type=click.IntRange(1, 2048), metavar="PIXELS", help="Default: the architecture's own.")
@click.option("--width", type=float, metavar="FACTOR", help="Multiplier of the channels, for MobileNets. Default: 1")
@click.option(
    "--head",
    type=click.Choice(["gap", "original"]),
    help="Pooling and one layer, or the paper's head. Default: the paper's where there is one.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --compare: draw accuracy against MACs, area as parameters, to a .png or .svg file; takes tlkit[plot].",
)
@click.option("--markdown", is_flag=True, help="Print tables in Markdown.")
@json_option
def command(names: tuple[str, ...], compare: bool, picture: Path | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Count an architecture's shapes, memory, parameters and multiply-accumulates, layer by layer.

    NAME is one of `tlkit models`, keras:NAME (a constructor of keras.applications) or PATH.keras (your own model);
    the last two are counted with tlkit's head. With --compare: totals of several, beside their published accuracy on
    ImageNet. No weights are fetched.

    \b
    Example:
      tlkit summary lenet5
      tlkit summary mobilenet_v2 --classes 10 --input-size 96 --width 0.35
      tlkit summary vgg16 --markdown > vgg16.md
      tlkit summary --compare vgg16 mobilenet_v2
      tlkit summary --compare all --picture architectures.svg
    """
    markdown = options.pop("markdown")
    if as_json and markdown:
        raise OptionError("--json and --markdown are two forms of the same. Leave one out.")
    if compare:
        _compare(names, picture, as_json, markdown, options)
    elif len(names) > 1 or picture:
        what = "--picture" if picture else f"More than one architecture ({', '.join(names)})"
        raise OptionError(f"{what} needs --compare: tlkit summary --compare {' '.join(names)}")
    else:
        _layers(names[0], as_json, markdown, options)


def _layers(name: str, as_json: bool, markdown: bool, options: dict[str, Any]) -> None:
    from tlkit.lazy import import_keras
    from tlkit.models import registry
    from tlkit.models.compare import head_of, of_any

    architecture = of_any(name, options["input_size"])
    size, width = options["input_size"] or architecture.input_size, options.pop("width")
    options["head"] = head_of(architecture, options["head"])
    registry.check_input_size(architecture, options["head"], size)
    if width is not None:
        registry.check_width(architecture, width)
        options["width_multiplier"] = width
    options |= {"input_size": size, "classes": options["classes"] or architecture.params_classes}
    import_keras()
    from tlkit.models.accounting import summarize
    from tlkit.models.skeleton import skeleton

    summary = summarize(skeleton(architecture, **options))
    totals = {
        "depth": summary.depth,
        "memory": summary.memory,
        "parameters": summary.parameters,
        "trainable": summary.trainable,
        "macs": summary.macs,
        "float32_bytes": summary.float32_bytes,
        "int8_bytes": summary.int8_bytes,
    }
    if as_json:
        stages = [asdict(stage) for stage in summary.stages]
        layers = [asdict(layer) for layer in summary.layers]
        counted = {"totals": totals, "uncounted": list(summary.uncounted), "stages": stages, "layers": layers}
        print_json({"name": name, **options, **counted})
        return
    paper = f" ({architecture.paper})" if architecture.paper else ""
    title = f"{architecture.title}{paper}: {size} pixels, {options['classes']} classes"
    click.echo(f"# {title}\n" if markdown else f"{title}\n")
    for rows, right in ((_layer_rows(summary), (4, 5, 6, 7)), (_stage_rows(summary), (1, 2, 3, 4))):
        _show(rows, right, markdown)
        click.echo()
    click.echo(
        f"{summary.parameters:,} parameters ({summary.trainable:,} trainable), {megabytes(summary.float32_bytes)} MB "
        f"at float32, {megabytes(summary.int8_bytes)} MB at int8.\n{summary.macs:,} MACs, "
        f"{_kib(summary.memory)} KiB of activations, {summary.depth} weighted layers deep.\n{_FOOTNOTE}"
    )
    if summary.uncounted:
        click.echo(f"MACs are without those of {some(summary.uncounted)}: how they multiply is not known here.")


def _layer_rows(summary: "Summary") -> list[list[str]]:
    rows = [["stage", "layer", "kind", "output", "values", "KiB", "parameters", "MACs"]]
    for one in summary.layers:
        kind = f"{re.sub('Normalization|Pooling', _shorter, one.kind)} {one.window}".rstrip()
        memory = "-" if one.in_place else _kib(one.memory)
        counts = [f"{one.size:,}", memory, f"{one.parameters:,}", f"{one.macs:,}"]
        rows.append([one.stage, one.name, kind, "x".join(map(str, one.shape)), *counts])
    return rows


def _shorter(word: re.Match[str]) -> str:
    """Returns what keeps the table within a terminal: `BatchNorm`, `MaxPool2D`."""
    return {"Normalization": "Norm", "Pooling": "Pool"}[word[0]]


def _stage_rows(summary: "Summary") -> list[list[str]]:
    rows = [["stage", "layers", "KiB", "parameters", "MACs"]]
    for one in summary.stages:
        rows.append([one.name, str(one.layers), _kib(one.memory), f"{one.parameters:,}", f"{one.macs:,}"])
    layers = str(len(summary.layers))
    rows.append(["total", layers, _kib(summary.memory), f"{summary.parameters:,}", f"{summary.macs:,}"])
    return rows


def _kib(memory: int) -> str:
    """Returns bytes in units of 1024, as the lectures' tables do: `3,136`, and `6.1` where it is no whole number."""
    return f"{memory // 1024:,}" if memory % 1024 == 0 else f"{memory / 1024:,.1f}"


def _compare(
    names: tuple[str, ...], picture: Path | None, as_json: bool, markdown: bool, options: dict[str, Any]
) -> None:
    from tlkit.models.compare import check_drawable, compare

    if picture:
        from tlkit.models.picture import check, draw

        check(picture)
        check_drawable(names, **options)
    found = compare(names, **options)
    if picture:
        missing = [one.architecture.name for one in draw(found, picture)]
        without = f" without {some(missing)}: no top-1 accuracy is published for just these" if missing else ""
        click.echo(f"Drew {picture}{without}", err=True)
    if as_json:
        print_json([_figures_json(one) for one in found])
        return
    sources = Sources()
    rows = [["name", "depth", "input", "parameters", "million MACs", "float32 MB", "int8 MB", "top-1 / top-5 %"]]
    for one in found:
        size, depth = str(one.input_size), str(one.depth or "-")
        memory = [megabytes(one.float32_bytes), megabytes(one.int8_bytes)]
        counts = [f"{one.parameters:,}", millions(one.macs)]
        rows.append([one.architecture.name, depth, size, *counts, *memory, sources.cell(one.accuracy)])
    if markdown:
        click.echo(markdown_table(rows, right=_COUNTS))
        click.echo("\n" + "\n".join(f"- {source}" for source in sources.lines()))
        return
    left_out = print_table(rows, right=_COUNTS, spare=_SPARE)
    for i, line in enumerate((*sources.lines(), *left_out_text(left_out, "set COLUMNS=120"))):
        click.echo("\n" * (i == 0) + wrapped(line, columns(), indent="    "))


def _figures_json(one: "Figures") -> dict[str, Any]:
    return {
        "name": one.architecture.name,
        "input_size": one.input_size,
        "classes": one.classes,
        "depth": one.depth,
        "parameters": one.parameters,
        "macs": one.macs,
        "float32_bytes": one.float32_bytes,
        "int8_bytes": one.int8_bytes,
        "accuracy": accuracy_json(one.accuracy),
    }


def _show(rows: list[list[str]], right: tuple[int, ...], markdown: bool) -> None:
    if markdown:
        click.echo(markdown_table(rows, right=right))
    else:
        print_table(rows, right=right)
