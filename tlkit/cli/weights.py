"""`tlkit weights`: published weights, fetched before a machine goes offline."""

from typing import Any

import click

from tlkit.cli.common import HELP, Subcommands, json_option, print_json, print_table


@click.group("weights", cls=Subcommands, context_settings=HELP)
def command() -> None:
    """List and fetch ImageNet weights. Without a subcommand: list, which takes --json.

    \b
    Example:
      tlkit weights
      tlkit weights fetch mobilenet_v2
    """


@command.command("list", context_settings=HELP)
@json_option
def list_(as_json: bool) -> None:
    """List the files that finetune takes by default, and which of them are in Keras' cache.

    A file for another input size, head or width is listed when it is there.

    \b
    Example:
      tlkit weights list
      tlkit weights list --json
    """
    from tlkit.models.imagenet import listed_files, models_folder
    from tlkit.sizes import bytes_in, size_text

    found: list[dict[str, Any]] = [
        {
            "name": architecture.name,
            "file": file.path.name,
            "path": str(file.path),
            "bytes": bytes_in(file.path) if file.path.is_file() else None,
        }
        for architecture, file in listed_files()
    ]
    if as_json:
        print_json(found)
        return
    rows = [["name", "file", "in Keras' cache", "size"]]
    for row in found:
        here = row["bytes"] is not None
        rows.append([row["name"], row["file"], "yes" if here else "no", size_text(row["bytes"]) if here else "-"])
    print_table(rows, right=(3,))
    click.echo(f"Keras' cache is {models_folder()}. What is not there: tlkit weights fetch NAME")


@command.command("fetch", context_settings=HELP)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--input-size", type=click.IntRange(1, 2048), metavar="PIXELS", help="Default: the architecture's own.")
@click.option("--head", type=click.Choice(["gap", "original"]), help="As for finetune. Default: gap")
@click.option("--width", type=float, default=1.0, metavar="MULTIPLIER", help="Of a MobileNet, as 0.5. Default: 1")
@json_option
def fetch(names: tuple[str, ...], input_size: int | None, head: Any, width: float, as_json: bool) -> None:  # noqa: ANN401
    """Fetch the very files that finetune would take for --base NAME with these options; `all` is every one.

    If one can't be fetched, the others are, and the exit code is 1; --json has its `error`.

    \b
    Example:
      tlkit weights fetch mobilenet_v2
      tlkit weights fetch mobilenet_v2 --input-size 96 --width 0.5
      tlkit weights fetch all
    """
    from tlkit.errors import OptionError, WeightsError
    from tlkit.manifest import sha256_of
    from tlkit.models.bases import is_foreign
    from tlkit.models.imagenet import DownloadError, fetch_imagenet, file_of, models_folder, with_weights
    from tlkit.models.registry import check_input_size
    from tlkit.progress import Screen
    from tlkit.sizes import size_text

    if foreign := [name for name in names if is_foreign(name)]:
        raise OptionError(
            f"tlkit weights fetch takes tlkit's own architectures, not {foreign[0]}. The weights of keras:NAME are "
            "fetched by the first tlkit finetune --base keras:NAME; a PATH.keras has its own."
        )
    wanted = [(a, head or a.head, input_size or a.input_size) for a in with_weights(names)]
    for architecture, its_head, size in wanted:
        check_input_size(architecture, its_head, size)
        assert architecture.published is not None, architecture.name
        file_of(architecture.published, input_size=size, top=False, width_multiplier=width)
    screen = Screen()
    fetched: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for architecture, its_head, size in wanted:
        try:
            top = architecture.takes_top(its_head)
            path = fetch_imagenet(architecture, input_size=size, top=top, width_multiplier=width, progress=screen)
        except DownloadError as err:
            # What can be done is the same for all: it is said once, below.
            reason = str(err).partition("\n")[0]
            assert architecture.published is not None, architecture.name
            file = file_of(architecture.published, input_size=size, top=top, width_multiplier=width)
            failed.append({"name": architecture.name, "error": reason, "url": file.url})
            click.echo(f"Error: {reason} {file.url}", err=True)
            continue
        size, sha256 = path.stat().st_size, sha256_of(path)
        fetched.append({"name": architecture.name, "path": str(path), "bytes": size, "sha256": sha256})
        if not as_json:
            click.echo(f"{architecture.name}: {path}\n  {size_text(size)}, sha256 {sha256}")
    if as_json:
        print_json([*fetched, *failed])
    elif fetched:
        click.echo(
            f"For a machine that is offline, copy from {models_folder()} to $KERAS_HOME/models there, "
            "or ~/.keras/models when KERAS_HOME is not set."
        )
    if failed:
        raise WeightsError(
            f"{len(failed)} of {len(wanted)} files could not be fetched. Try again, or fetch them on a machine with a "
            f"network and put them into {models_folder()} under the names that they have there."
        )
