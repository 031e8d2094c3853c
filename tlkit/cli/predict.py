"""`tlkit predict`."""

from pathlib import Path

import click

from tlkit.cli.common import HELP, json_option, print_json, runs_option


@click.command("predict", context_settings=HELP)
@click.argument("photos", nargs=-1, required=True, type=click.Path())
@click.option("--run", metavar="RUN", help="Path or name of a run. Default: the newest complete one.")
@runs_option
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes to show for each photo.")
@json_option
def command(photos: tuple[str, ...], run: str | None, runs: Path, top: int, as_json: bool) -> None:
    """Classify photos with a run's model.

    A file that can't be read is reported, the rest are done, and the exit code is 1.

    \b
    Example:
      tlkit predict photo.jpg
      tlkit predict --top 1 --json holiday/*.jpg
    """
    from tlkit.api import load_run
    from tlkit.errors import DataError
    from tlkit.lazy import import_keras
    from tlkit.progress import Progress, Screen

    chosen = load_run(run, runs)
    if missing := [path for path in photos if not Path(path).is_file()]:
        if len(missing) == len(photos):
            what = "is a folder" if Path(missing[0]).is_dir() else "does not exist"
            raise DataError(f"{missing[0]} {what}. Give the paths of photos.")
    import_keras()
    found = chosen.predict(list(photos), top=top, progress=Screen() if len(photos) > 50 else Progress())
    if as_json:
        print_json({"run": str(chosen.folder), "predictions": [prediction.to_dict() for prediction in found]})
    for prediction in found:
        if prediction.error:
            click.echo(f"{prediction.path}: {prediction.error}", err=True)
        elif not as_json:
            click.echo(prediction.path)
            for name, probability in prediction.top:
                click.echo(f"  {probability:7.2%}  {name}")
    bad = sum(prediction.error is not None for prediction in found)
    if bad:
        raise DataError(f"{bad} of {len(found)} files could not be classified.")
