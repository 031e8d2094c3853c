"""`tlkit models`: from the registry alone."""

from typing import Any

import click

from tlkit.cli.common import HELP, json_option, print_json, print_table
from tlkit.models import registry
from tlkit.models.architecture import Architecture


@click.command("models", context_settings=HELP)
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the architectures, or the stages of one.

    \b
    Example:
      tlkit models
      tlkit models vgg16
    """
    if name is None:
        _list(as_json)
        return
    architecture = registry.find(name)
    about = _about(architecture)
    if as_json:
        print_json(about)
        return
    click.echo(f"{architecture.title} ({architecture.paper})")
    click.echo(f"Parameters     {architecture.params:,} at {architecture.params_classes} classes")
    click.echo(
        f"Input          {architecture.input_size} pixels; with --head gap {architecture.min_input_size} or more"
    )
    click.echo(f"Weights        {about['weights']}")
    click.echo(f"Default head   {architecture.head}")
    click.echo(f"Stages         {', '.join(architecture.stages)}, head")
    click.echo(f"Freeze them    --freeze all-but-head, none, up-to:{architecture.stages[-2]}, last:1")


def _list(as_json: bool) -> None:
    if as_json:
        print_json([_about(architecture) for architecture in registry.ARCHITECTURES])
        return
    rows = [["name", "parameters", "input", "weights", "stages"]]
    for a in registry.ARCHITECTURES:
        rows.append([a.name, f"{a.params:,}", str(a.input_size), _about(a)["weights"], ", ".join(a.stages)])
    print_table(rows, right=(1, 2))


def _about(architecture: Architecture) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "title": architecture.title,
        "paper": architecture.paper,
        "input_size": architecture.input_size,
        "min_input_size": architecture.min_input_size,
        "parameters": architecture.params,
        "parameters_at_classes": architecture.params_classes,
        "weights": "imagenet" if architecture.published else "none",
        "head": architecture.head,
        "stages": list(architecture.stages),
    }
