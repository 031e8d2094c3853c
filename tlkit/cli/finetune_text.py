"""What `tlkit finetune` prints: a plan, or what a training has reached."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.common import print_json, print_table
from tlkit.cli.multi_label import print_hardest, split_text

if TYPE_CHECKING:
    from tlkit.transfer.options import FinetuneOptions


def print_plan(options: "FinetuneOptions", as_json: bool) -> int:
    """Prints what would be trained, when, at which rate and how long."""
    from tlkit.lazy import import_keras
    from tlkit.progress import Screen
    from tlkit.sizes import size_text, time_text
    from tlkit.transfer.begin import found_out

    begun = found_out(options, Screen())
    import_keras()  # only now that the input is known to be good
    from tlkit.transfer.forecast import forecasts

    found = forecasts(begun.options, begun.decided, begun.photos)
    if as_json:
        print_json({"plans": [one.to_dict() for one in found]})
        return 0
    for one in found:
        click.echo(f"\n--freeze {one.strategy}, {one.epochs} epochs{f' ({one.condition})' if one.condition else ''}")
        rows = [["stage", "parameters", "trained in epochs", "learning rate"]]
        for stage in one.stages:
            when = "frozen" if stage.trained is None else "{}-{}".format(*stage.trained)
            rates = ["to be found" if rate is None else f"{rate:.3g}" for rate in stage.learning_rates]
            rows.append([stage.stage, f"{stage.parameters:,}", when, ", then ".join(dict.fromkeys(rates)) or "-"])
        print_table(rows, right=(1,))
        cache = f", and a cache of {size_text(one.cache_bytes)}" if one.cache_bytes else ", and no cache"
        click.echo(f"About {time_text(one.seconds)} on this machine{cache}")
    return 0


def print_summary(folder: Path, manifest: dict[str, Any]) -> None:
    """Prints what a training has reached, and what to do next."""
    found = {name: part for name, part in manifest["metrics"].items() if part}
    for name, part in found.items():
        title = {"val": "Validation accuracy", "test": "Test accuracy"}[name]
        if "thresholds" in manifest:
            click.echo(f"{title.split()[0]:<20} {split_text(part)}")
        else:
            click.echo(f"{title:<20} {part['accuracy']:.1%} of {part['images']} photos")
    last = found.get("test") or found["val"]
    if "thresholds" in manifest:
        print_hardest(last["per_class"])
    else:
        _print_hardest(last)
    schedule = manifest["schedule"]
    if schedule["best_epoch"] and schedule["best_epoch"] != schedule["epochs_run"]:
        click.echo(f"Best epoch           {schedule['best_epoch']} of {schedule['epochs_run']}: its weights are kept")
    if count := manifest.get("suspects"):
        click.echo(f"Suspicious labels    {count} of {sum(p['images'] for p in found.values())}; see: tlkit suspects")
    click.echo(f"Run                  {folder}")
    click.echo("Next                 tlkit predict PHOTO, or tlkit export --to tflite --precision int8")


def _print_hardest(last: dict[str, Any]) -> None:
    worst = sorted(last["per_class"], key=lambda row: row["recall"])[:5]
    if len(last["per_class"]) > 2 and worst[0]["recall"] < 1:
        rows = [["hardest classes", "photos", "precision", "recall"]]
        rows += [[r["class"], str(r["images"]), f"{r['precision']:.1%}", f"{r['recall']:.1%}"] for r in worst]
        print_table(rows, right=(1, 2, 3))
