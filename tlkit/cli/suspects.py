"""`tlkit suspects`."""

from dataclasses import replace
from pathlib import Path

import click

from tlkit.cli.common import HELP, json_option, print_json, print_table, printable, runs_option


@click.command("suspects", context_settings=HELP)
@click.argument("run", required=False)
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many to print.")
@click.option("--train", is_flag=True, help="Look at the photos that the model was trained on, too: it runs on them.")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="NEWROOT", help="Where the photos are now, if they have moved."
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write the page. Default: suspects.html in the run.",
)
@runs_option
@json_option
def command(
    run: str | None, top: int, train: bool, data: Path | None, html: Path | None, runs: Path, as_json: bool
) -> None:
    """Find labels that are probably wrong: those that the model contradicts with confidence.

    Looks at the photos that training did not see. Writes suspects.html, with thumbnails, and suspects.csv into the run,
    and prints the clearest. RUN is a path or a name; the newest by default.

    \b
    Example:
      tlkit suspects
      tlkit suspects --train --top 50
    """
    from tlkit.manifest import find_run
    from tlkit.progress import Screen
    from tlkit.suspects import PAGE, find_suspects, found_again, save_csv
    from tlkit.suspects_page import save_page

    folder, screen = find_run(run, runs), Screen()
    found = find_suspects(folder, train=train, data=data, progress=screen)
    root, moved = found_again(folder, found.found, data)
    found = replace(found, found=moved)
    table, page = save_csv(folder, found), save_page(html or folder / PAGE, found, root, screen)
    if as_json:
        print_json({**found.to_dict(), "data": str(root), "csv": str(table), "html": str(page)})
        return
    looked_at = ", ".join(f"{count:,} {split}" for split, count in found.images.items())
    click.echo(f"Suspicious labels    {len(found.found):,} of {sum(found.images.values()):,} photos ({looked_at})")
    if found.found:
        rows = [["photo", "split", "label", "", "model sees", ""]]
        for one in found.found[:top]:
            label = [printable(one.label), f"{one.label_probability:.1%}"]
            rows.append(
                [printable(one.path), one.split, *label, printable(one.predicted), f"{one.predicted_probability:.1%}"]
            )
        print_table(rows, right=(3, 5))
    if (more := len(found.found) - top) > 0:
        click.echo(f"and {more:,} more: --top N, or the files below")
    click.echo(f"Look at them         {page}")
    click.echo(f"As a table           {table}")
    if train:
        click.echo("The model has partly learned the labels of train by heart, so it contradicts fewer of those.")
    else:
        click.echo("Photos that it was trained on are looked at with --train.")
