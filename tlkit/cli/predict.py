"""`tlkit predict`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from tlkit.cli.common import HELP, json_option, print_json, printable, runs_option

if TYPE_CHECKING:
    from tlkit.predict import Prediction


@click.command("predict", context_settings=HELP)
@click.argument("photos", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "--model",
    "--run",
    "model",
    metavar="RUN|ARTIFACT",
    help="Path or name of a run, or a .tflite file. Default: the newest complete run.",
)
@runs_option
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes to show for each photo.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="P",
    help="Call a photo `unknown` when its most probable class is below P. With a multi-label model: show all classes "
    "from P on, instead of from each class's own threshold on.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout, a row as soon as a photo is done.")
@json_option
def command(
    photos: tuple[str, ...], model: str | None, runs: Path, top: int, threshold: float, as_csv: bool, as_json: bool
) -> None:
    """Classify photos with a run's model, or with an exported file.

    PHOTOS are files, folders (searched recursively), patterns, or `-` for a list on standard input, one path a line. A
    file that can't be read is reported, the rest are done, and the exit code is 1.

    \b
    Example:
      tlkit predict photo.jpg
      tlkit predict --top 1 --json holiday/*.jpg
      tlkit predict --csv --threshold 0.8 --model model.int8.tflite photos/ > found.csv
    """
    from tlkit.classifier import open_classifier
    from tlkit.data.gather import gather
    from tlkit.errors import DataError, OptionError
    from tlkit.progress import Progress, Screen

    if as_csv and as_json:
        raise OptionError("--csv and --json exclude each other. Choose one.")
    with open_classifier(model, runs) as classifier:
        paths, problems = gather(photos, sys.stdin.buffer)
        for remark in (*classifier.remarks, *problems):
            click.echo(remark, err=True)
        if not any(Path(path).is_file() for path in paths):
            raise DataError(f"{paths[0]} does not exist. Give the paths of photos.")

        from tlkit.predict import predict

        out = sys.stdout  # before a live bar takes its place, and sends all to stderr
        # Results that run over the screen are progress enough.
        quiet = len(paths) <= 50 or (out.isatty() and not as_json)
        screen = Progress() if quiet else Screen()
        found = predict(classifier, paths, top=top, threshold=threshold, progress=screen)
        if as_json:
            listed = list(found)
            print_json({classifier.kind: classifier.name, "predictions": [one.to_dict() for one in listed]})
            bad = sum([_complain(one) for one in listed])
        elif as_csv:
            several = classifier.thresholds is not None
            bad = _print_csv(found, min(top, len(classifier.classes)), out, multi_label=several)
        else:
            bad = sum([_print_text(one, out) for one in found])
    if bad:
        raise DataError(f"{bad} of {len(paths)} files could not be classified.")
    if problems:
        raise DataError(f"{len(problems)} of the paths named no photo; all others were classified.")


def _complain(one: "Prediction") -> bool:
    """Reports a file that could not be classified; returns whether this is one."""
    if one.error:
        click.echo(f"{printable(one.path)}: {one.error}", err=True)
    return one.error is not None


def _print_text(one: "Prediction", out: TextIO) -> bool:
    from tlkit.predict import UNKNOWN

    if _complain(one):
        return True
    if one.labels is not None:
        nothing = f": nothing; {one.top[0][0]} is the most probable, with {one.top[0][1]:.2%}"
        click.echo(f"{printable(one.path)}{'' if one.labels else nothing}", file=out)
        for name, probability in one.labels:
            click.echo(f"  {probability:7.2%}  {name}", file=out)
        return False
    click.echo(f"{printable(one.path)}{'' if one.label == one.top[0][0] else f': {UNKNOWN}'}", file=out)
    for name, probability in one.top:
        click.echo(f"  {probability:7.2%}  {name}", file=out)
    return False


def _print_csv(found: "Iterator[Prediction]", width: int, out: TextIO, *, multi_label: bool) -> int:
    """Prints each row as it comes, and returns how many files could not be classified."""
    from tlkit.predict import csv_header
    from tlkit.tables import csv_text

    out.write(csv_text([csv_header(width, multi_label=multi_label)]))
    bad = 0
    for one in found:
        out.write(csv_text([one.to_row(width, multi_label=multi_label)]))
        out.flush()
        bad += _complain(one)
    return bad
