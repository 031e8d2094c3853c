"""`tlkit lr-find`."""

import sys
from typing import Any

import click

from tlkit.cli import finetune
from tlkit.cli.common import HELP, columns, json_option, print_json

# Of the options of `tlkit finetune`: those that a sweep depends on.
_SHARED = (
    *("base", "base_input", "width", "data", "classes", "weights", "freeze", "head", "head_width", "batch_size"),
    *("input_size", "dropout", "seed", "class_weight", "strict", "no_cache", "augment", "views", "layer_decay"),
    *("batch_norm", "weight_decay", "label_smoothing", "mix", "sampling", "multi_label", "decode", "precision"),
)


@click.command("lr-find", context_settings=HELP, params=[one for one in finetune.command.params if one.name in _SHARED])
@json_option
@click.pass_context
def command(ctx: click.Context, no_cache: bool, as_json: bool, **values: Any) -> int:  # noqa: ANN401
    """Find a learning rate: a hundred steps at rising rates, of which nothing stays.

    Shows the loss against the rate and suggests the rate at which it falls most steeply, for the first phase of the
    training. tlkit finetune --learning-rate auto does the same before each phase.

    \b
    Example:
      tlkit lr-find --base mobilenet_v2 --data photos/
      tlkit lr-find --base mobilenet_v2 --data photos/ --freeze none --batch-size 64
    """
    if values["base"] is None:
        raise click.UsageError("Missing option '--base'. Architectures are listed by: tlkit models", ctx)
    from tlkit.progress import Screen
    from tlkit.transfer.lr_finder import lr_find
    from tlkit.transfer.lr_plot import in_text
    from tlkit.transfer.options import FinetuneOptions

    find = lr_find(FinetuneOptions(cache=not no_cache, **values), Screen())
    if as_json:
        print_json(find.to_dict())
        return 0
    blocks = (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(in_text(find, width=min((columns() or 80) - 12, 70), blocks=blocks))
    if find.learning_rate is None:
        click.echo("Suggestion     none: the loss falls at no rate. Are the labels right, and the weights?")
    else:
        click.echo(f"Suggestion     {find.learning_rate:.2g}, where the loss falls most steeply")
        if find.phases == 1:
            click.echo(f"Next           tlkit finetune --learning-rate {find.learning_rate:.2g}, with the same options")
        else:
            click.echo(
                "               It is the head's, which trains first; the stages that are thawed after it need another"
            )
            click.echo("Next           tlkit finetune --learning-rate auto, with the same options: each phase is swept")
    return 0
