"""`tlkit export`."""

from pathlib import Path
from typing import Any

import click

from tlkit.cli.common import HELP, json_option, print_json, runs_option
from tlkit.cli.multi_label import print_parity


@click.command("export", context_settings=HELP)
@click.argument("run", required=False)
@click.option("--to", required=True, metavar="FORMAT", help="tflite")
@click.option(
    "--precision", default="float32", show_default=True, metavar="NAME", help="float32, float16, dynamic or int8."
)
@runs_option
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Where the photos are now, if they moved.")
@click.option("--calibration", type=int, metavar="N", help="Photos to calibrate int8 on; 200 by default.")
@click.option("--min-agreement", type=float, metavar="FRACTION", help="Accept less top-1 agreement; recorded.")
@click.option("--max-drop", type=float, metavar="FRACTION", help="Accept a larger loss of accuracy; recorded.")
@json_option
def command(run: str | None, runs: Path, as_json: bool, **values: Any) -> None:  # noqa: ANN401
    """Export a run's model, proven in the runtime of the device.

    The file is run on every photo that training did not see and compared with the Keras model. Short of the limit of
    its precision there is no artifact, and the exit code is 3. RUN is a path or a name; the newest by default.

    float16 halves the file; dynamic has int8 weights and float activations; int8 is whole numbers throughout and
    calibrated on training photos. All of them take the same raw pixels.

    \b
    Example:
      tlkit export --to tflite
      tlkit export --to tflite --precision int8
    """
    from tlkit.convert.options import ExportOptions, check_options
    from tlkit.lazy import import_keras
    from tlkit.manifest import find_run
    from tlkit.progress import Screen

    options = ExportOptions(**values)
    check_options(options)
    folder = find_run(run, runs)
    import_keras()
    from tlkit.convert.export import export

    entry = export(folder, options, Screen())
    if as_json:
        print_json({"run": str(folder), **entry})
        return
    parity = entry["parity"]
    click.echo(f"Artifact             {folder / entry['path']} ({entry['bytes'] / 1e6:.2f} MB)")
    click.echo(f"Proven on            {parity['images']} photos that training did not see, in {_runtime(entry)}")
    if parity["top1_agreement"] is None:
        print_parity(parity)
    else:
        click.echo(f"Agrees with Keras    {parity['top1_agreement']:.1%} of them (top-1)")
        click.echo(f"Accuracy             {parity['accuracy']:.1%}, Keras {parity['keras_accuracy']:.1%}")
    click.echo(f"Largest difference   {parity['max_probability_difference']:.2g} in probability")
    click.echo(f"Input                {_tensor(entry['input'])}, raw RGB pixels; output {_tensor(entry['output'])}")
    if entry["float_ops"]:
        click.echo(f"Left in float        {', '.join(entry['float_ops'])}")


def _runtime(entry: dict[str, Any]) -> str:
    return f"{entry['runtime']['name']} {entry['runtime']['version']}"


def _tensor(tensor: dict[str, Any]) -> str:
    return f"{tensor['dtype']} {tensor['shape']}"
