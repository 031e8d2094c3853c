"""`tlkit finetune`."""

from typing import Any

import click
from click.core import ParameterSource

from tlkit.cli.common import HELP, INTERRUPTED, FloatOrAuto, json_option, print_json, runs_option
from tlkit.cli.finetune_text import print_plan, print_summary


def _devices(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    """Reads `--devices`; what it may be is checked with all other options."""
    return int(value) if value.isascii() and value.isdigit() else value


@click.command("finetune", context_settings=HELP)
@click.option(
    "--base",
    metavar="NAME",
    help="Architecture, see: tlkit models; keras:NAME, a constructor of keras.applications; or PATH.keras, a model of "
    "your own.  [required]",
)
@click.option(
    "--from",
    "parent",
    metavar="RUN",
    help="Go on from a complete run, a path or a name, with its photos and those in --data: more of its classes, new "
    "classes, or both. Base, head and input size are the run's.",
)
@click.option("--parent-data", metavar="DIR", help="Where the photos of the run in --from are now, if they have moved.")
@click.option(
    "--base-input",
    metavar="RANGE",
    help="What PATH.keras takes, where it has no Rescaling or Normalization: 0..255, 0..1, -1..1, torch or caffe.",
)
@click.option("--width", type=float, metavar="FACTOR", help="Width multiplier, where the architecture takes one.")
@click.option(
    "--data",
    default="digits",
    show_default=True,
    metavar="DIR|FILE",
    help="Folder with <class>/* or {train,val,test}/<class>/*; a .csv, .tsv or .parquet table with a column of paths, "
    "one of labels and perhaps one of splits; .tfrecord files; `digits` is 1,797 handwritten digits that come along.",
)
@click.option("--classes", type=click.IntRange(2), metavar="N", help="Check that there are N classes.")
@click.option(
    "--weights",
    metavar="imagenet|none|PATH",
    help="Pretrained weights: imagenet where there are any, none, or a .h5, .keras, .pth or .safetensors file. "
    "PATH.keras keeps its own.",
)
@click.option(
    "--freeze",
    metavar="STRATEGY",
    help="all-but-head, none, up-to:STAGE, last:N, gradual[:EPOCHS], head-then:STRATEGY, or auto: what suits the "
    "photos. Default: auto with pretrained weights, none without.",
)
@click.option("--head", type=click.Choice(["gap", "original"]), help="Pooling and one layer, or the paper's head.")
@click.option(
    "--head-width",
    type=click.IntRange(0, 4096),
    metavar="UNITS",
    help="A hidden layer of so many units in the head; 0: none. Default: 0.",
)
@click.option("--epochs", type=click.IntRange(1), help="At most, in all. Default: what suits the strategy.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Photos in a step.")
@click.option(
    "--learning-rate",
    type=FloatOrAuto(0, 10, min_open=True),
    help="After warm-up; a cosine takes it to 0. auto: found by a sweep before each phase, see tlkit lr-find. Default: "
    "3e-3 for a head alone, less when pretrained stages train.",
)
@click.option("--input-size", type=click.IntRange(1, 2048), metavar="PIXELS", help="Default: the architecture's own.")
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    help="Before the last layer. Default: 0.2, or the paper's with --head original.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the split and of training."
)
@click.option(
    "--patience",
    type=click.IntRange(0),
    help="Stop after this many epochs without a smaller validation loss; 0: never. Default: 8, and 0 for "
    "stages that are thawed after the head.",
)
@click.option(
    "--class-weight",
    type=click.Choice(["auto", "none"]),
    default="none",
    show_default=True,
    help="auto: weigh classes inversely to their frequency in the loss.",
)
@click.option("--name", help="Name of the run's folder. Default: <time>-<base>-<data>")
@runs_option
@click.option("--strict", is_flag=True, help="A file that can't be used is an error.")
@click.option("--no-cache", is_flag=True, help="Compute frozen stages anew in every epoch.")
@click.option(
    "--augment",
    type=click.Choice(["none", "light", "strong"]),
    help="Train on changed photos: light turns, shifts, zooms and brightens a little; strong more, and mirrors. "
    "Default: light where all pretrained stages train, else none.",
)
@click.option(
    "--views",
    type=click.IntRange(1, 1000),
    metavar="K",
    help="Changed versions of each photo. Default: 4, cached; where nothing is cached, new ones in every epoch.",
)
@click.option(
    "--layer-decay",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Discriminative learning rates: each stage learns at FACTOR times the rate of the one behind it.",
)
@click.option(
    "--batch-norm",
    type=click.Choice(["frozen", "train"]),
    help="frozen (the default with pretrained weights) keeps their statistics; train trains all of them, in frozen "
    "stages too, so that nothing can be cached.",
)
@click.option(
    "--weight-decay",
    type=click.FloatRange(0, 1),
    help="Decoupled, times the learning rate; biases and norms have none. Default: 0.01.",
)
@click.option(
    "--label-smoothing",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of each label that is spread over all classes. Default: 0.1 where pretrained stages train, else 0.",
)
@click.option(
    "--mix",
    type=click.Choice(["none", "mixup", "cutmix"]),
    default="none",
    show_default=True,
    help="Blend photos in pairs, or put a rectangle of one into the other; nothing is cached then.",
)
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    metavar="DECAY",
    help="Validate and keep a moving average of the weights, such as 0.99; 0: the weights.",
)
@click.option(
    "--sampling",
    type=click.Choice(["natural", "balanced"]),
    default="natural",
    show_default=True,
    help="balanced: draw every class equally often.",
)
@click.option(
    "--max-thaw-drop",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Return to the best weights if the first epoch of thawed stages loses more validation accuracy than this and "
    "chance.",
)
@click.option(
    "--plan", "only_plan", is_flag=True, help="Print what would be trained, when, at which rate and how long."
)
@click.option(
    "--decode",
    type=click.Choice(["full", "scaled"]),
    default="full",
    show_default=True,
    help="scaled: rebuild JPEG photos much larger than the input at a half to an eighth, several times faster.",
)
@click.option(
    "--tune",
    type=click.IntRange(2, 10_000),
    metavar="N",
    help="First try N settings of the head on cached features: width, dropout, learning rate, weight decay. Training "
    "takes the best, if validation says clearly that it is better than the default.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed_float16", "mixed_bfloat16"]),
    default="auto",
    show_default=True,
    help="In which layers compute in training; auto: what the chip is fast in. What is saved is float32.",
)
@click.option(
    "--devices",
    default="1",
    callback=_devices,
    show_default=True,
    metavar="N|all",
    help="GPUs that share each batch; the result is that of one.",
)
@click.option(
    "--multi-label",
    is_flag=True,
    help="A photo may have any number of labels: --data is a table with cells such as cat|dog, or a column of 0 and 1 "
    "for each class.",
)
@click.option("--resume", is_flag=True, help="Go on with the newest run that was killed or interrupted, or --name.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    no_cache: bool,
    resume: bool,
    only_plan: bool,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> int:
    """Train a classifier on a folder of photos; leaves a run.

    What is frozen is computed once and cached, so later epochs and later runs on the same photos take moments. Ctrl-C
    stops after the batch and leaves the best model so far.

    \b
    Example:
      tlkit finetune --base mobilenet_v2 --data photos/
      tlkit finetune --base vgg16 --classes 10 --freeze all-but-head
      tlkit finetune --base mobilenet_v2 --data photos/ --freeze head-then:last:2 --layer-decay 0.7
      tlkit finetune --base mobilenet_v2 --data photos/ --freeze gradual:2 --plan
      tlkit finetune --base mobilenet_v2 --data photos/labels.csv
      tlkit finetune --base mobilenet_v2 --data labels.csv --multi-label
      tlkit finetune --base mobilenet_v2 --data photos/ --tune 30
      tlkit finetune --base keras:EfficientNetV2B0 --data photos/
      tlkit finetune --base mine.keras --base-input 0..1 --data photos/ --freeze up-to:stage3
      tlkit finetune --from 20261120-133247-mobilenet_v2-flowers --data more_photos/
      tlkit finetune --resume
    """
    if values["base"] is None and values["parent"] is None and not resume:
        raise click.UsageError("Missing option '--base'. Architectures are listed by: tlkit models", ctx)
    from tlkit.manifest import read_manifest
    from tlkit.progress import Screen
    from tlkit.transfer.finetune import finetune, resume_or_begin
    from tlkit.transfer.options import FinetuneOptions

    values["cache"] = not no_cache
    if only_plan:
        return print_plan(FinetuneOptions(**values), as_json)
    if resume:
        typed = {name for name in values if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE}
        given = {name: values[name] for name in typed | ({"cache"} if no_cache else set())}
        folder = resume_or_begin(values, given, Screen())
    else:
        folder = finetune(FinetuneOptions(**values), Screen())
    manifest = read_manifest(folder)
    if as_json:
        del manifest["split"]
        print_json({"run": str(folder), **manifest})
    else:
        print_summary(folder, manifest)
    return INTERRUPTED if manifest["schedule"]["interrupted"] else 0
