"""`tlkit inspect`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlkit.cli.common import HELP, json_option, print_json, print_table, printable

if TYPE_CHECKING:
    from tlkit.data.inspection import Group, Inspection

# Of each kind of finding, and of classes, so many are printed; --json has all.
_MOST, _CLASSES = 5, 20


@click.command("inspect", context_settings=HELP)
@click.argument("data", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--near",
    "near_percent",
    type=float,
    default=98.0,
    show_default=True,
    metavar="PERCENT",
    help="How alike near duplicates are, 90 to 100: 95 also finds bursts of one camera, 100 only exact copies.",
)
@click.option(
    "--input-size",
    type=int,
    default=224,
    show_default=True,
    metavar="PIXELS",
    help="Side of the model's input: photos with a smaller side are counted.",
)
@click.option("--strict", is_flag=True, help="End with exit code 1 if anything makes figures of accuracy wrong.")
@json_option
@click.pass_context
def command(
    context: click.Context, data: Path, near_percent: float, input_size: int, strict: bool, as_json: bool
) -> None:
    """Look at a folder of photos before training on it.

    Tells counts, imbalance, files that can't be used, photos that are there twice (also recompressed, resized or
    mirrored), in several splits or under several labels, odd sizes, grey photos among colour ones. It changes nothing.

    \b
    Example:
      tlkit inspect photos/
      tlkit inspect photos/ --strict --json > found.json
    """
    from tlkit.data.inspect import inspect
    from tlkit.progress import Screen

    found = inspect(data, near_percent=near_percent, input_size=input_size, progress=Screen())
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    context.exit(1 if strict and found.harms() else 0)


def _print(found: "Inspection") -> None:
    width, height = found.sizes["width"], found.sizes["height"]
    click.echo(f"Photos               {found.photos:,} in {len(found.counts)} classes, {printable(found.root)}")
    click.echo(
        f"Median size          {width[1]} x {height[1]}, from {width[0]} x {height[0]} to {width[2]} x {height[2]}"
    )
    _print_classes(found)
    rest = [group for group in found.groups if not group.conflicts]
    inside = [group for group in rest if not group.crosses]
    copies = [group for group in inside if group.kind == "copies"]
    near = [group for group in inside if group.kind != "copies"]
    _print_some("Can't be used", [f"{one.path}: {one.reason}" for one in found.unusable])
    _print_some("One picture, several labels", map(_group_text, found.conflicts))
    _print_some("One picture, several splits", (_group_text(group) for group in rest if group.crosses))
    _print_some("Exact copies", map(_group_text, copies))
    _print_some("Near duplicates", map(_group_text, near))
    _print_leaks(found)
    _print_some("Odd sizes", [f"{one.path}: {one.reason}" for one in found.odd_sizes])
    _print_some(f"Smaller than the input size, {found.input_size} pixels: they would be enlarged", found.tiny)
    _print_some("Grey" if 2 * found.grey <= found.photos else "In colour among grey photos", found.odd_colours)
    _print_some("Of a single colour", found.flat)
    if found.turned:
        click.echo(f"\nTurned by their EXIF block: {found.turned:,}. tlkit turns them; other tools may not.")
    harms = found.harms()
    click.echo(
        f"\nThis makes figures wrong: {', '.join(harms)}" if harms else "\nNothing found that makes figures wrong."
    )


def _print_classes(found: "Inspection") -> None:
    parts = list(next(iter(found.counts.values())))
    ordered = sorted(found.counts, key=lambda name: sum(found.counts[name].values()))
    if len(ordered) > _CLASSES:
        shown = [*ordered[: _CLASSES // 2], *ordered[-_CLASSES // 2 :]]
        click.echo(f"\nThe smallest and the largest of {len(ordered)} classes:")
    else:
        shown = list(found.counts)
        click.echo()
    rows = [["class", *("photos" if part == "all" else part for part in parts)]]
    rows += [[printable(name), *(f"{found.counts[name][part]:,}" for part in parts)] for name in shown]
    print_table(rows, right=range(1, len(parts) + 1))
    if text := found.advice():
        click.echo(text)


def _print_leaks(found: "Inspection") -> None:
    leaks = found.leaks
    if leaks is None or not leaks.paths:
        return
    where = " in the split that tlkit would make (seed 0)" if leaks.automatic else ""
    _print_some(f"Held out, with a near duplicate in train{where}: accuracy is overestimated", leaks.paths)
    if leaks.automatic:
        click.echo("  Keep one of each group, or make train/, val/ and test/ yourself and keep groups together.")


def _group_text(group: "Group") -> str:
    from tlkit.errors import some

    how = {"copies": "copies", "near": f"{group.similarity:.1%} alike", "mirrored": "mirrored"}[group.kind]
    return f"{some(group.paths, 4)} ({how})"


def _print_some(title: str, lines: Iterable[str]) -> None:
    """Prints a title with the number of lines, and the first of them."""
    lines = list(lines)
    if not lines:
        return
    click.echo(f"\n{title}: {len(lines):,}")
    for line in lines[:_MOST]:
        click.echo(f"  {printable(line)}")
    if len(lines) > _MOST:
        click.echo(f"  and {len(lines) - _MOST:,} more, all of them with --json")
