"""`tlkit runs`: what was trained here."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tlkit.cli.common import (
    HELP,
    Subcommands,
    ask_to_remove,
    json_option,
    print_json,
    print_table,
    runs_option,
    yes_option,
)
from tlkit.cli.multi_label import parity_text, print_hardest, split_text, thresholds_text


@click.group("runs", cls=Subcommands, context_settings=HELP)
def command() -> None:
    """List, show and remove runs. Without a subcommand: list, which takes --runs and --json.

    \b
    Example:
      tlkit runs
      tlkit runs show
      tlkit runs remove 20261120-133247-mobilenet_v2-flowers
    """


@command.command("list", context_settings=HELP)
@runs_option
@json_option
def list_(runs: Path, as_json: bool) -> None:
    """List every run, newest first, broken ones with the reason.

    \b
    Example:
      tlkit runs list
      tlkit runs list --runs ~/experiments --json
    """
    from tlkit.runs import list_runs
    from tlkit.sizes import size_text

    listed = list_runs(runs)
    if as_json:
        print_json([run.to_dict() for run in listed])
        return
    if not listed:
        click.echo(f"There are no runs in {runs.absolute()}. Make one with: tlkit finetune")
        return
    rows = [["run", "status", "base", "data", "accuracy", "photos", "artifacts", "created", "size"]]
    for run in listed:
        about = run.about or {"status": "broken", "base": "", "data": "", "photos": "", "artifacts": []}
        cells = [about["status"], about["base"], about["data"], _accuracy(about), str(about["photos"])]
        artifacts = ", ".join(about["artifacts"]) or "-"
        rows.append([run.folder.name, *cells, artifacts, _local(run.created), size_text(run.bytes)])
    print_table(rows, right=(5, 8))
    for run in listed:
        if run.problem:
            click.echo(f"{run.folder.name}: {run.problem}")


@command.command("show", context_settings=HELP)
@click.argument("run", required=False)
@runs_option
@json_option
def show(run: str | None, runs: Path, as_json: bool) -> None:
    """Show what a run was made from and what came out. RUN is a path or a name; the newest by default.

    \b
    Example:
      tlkit runs show
      tlkit runs show 20261120-133247-mobilenet_v2-flowers
      tlkit runs show --json
    """
    from tlkit.manifest import read_manifest
    from tlkit.runs import run_to_show

    folder = run_to_show(run, runs)
    manifest = read_manifest(folder)
    if as_json:
        sizes = {name: len(photos) for name, photos in manifest["split"].items()}
        print_json({"run": str(folder), **manifest, "split": sizes})
        return
    for title, text in _lines(folder, manifest):
        click.echo(f"{title:<20} {text}")
    _print_hardest(manifest)


@command.command("remove", context_settings=HELP)
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@runs_option
@yes_option
@json_option
def remove(names: tuple[str, ...], runs: Path, yes: bool, as_json: bool) -> None:
    """Remove runs for good, after asking. If one of them can't be removed, none is.

    \b
    Example:
      tlkit runs remove 20261120-133247-mobilenet_v2-flowers
      tlkit runs remove --yes first second
    """
    from tlkit.runs import remove_run, runs_to_remove
    from tlkit.sizes import bytes_in, size_text

    folders = runs_to_remove(names, runs)
    ask_to_remove([f"{folder} ({size_text(bytes_in(folder))})" for folder in folders], yes=yes)
    removed: list[dict[str, Any]] = []
    for folder in folders:
        removed.append({"run": str(folder), "bytes": remove_run(folder)})
        if not as_json:
            click.echo(f"Removed {folder} ({size_text(removed[-1]['bytes'])})")
    if as_json:
        print_json({"removed": removed})


def _accuracy(about: dict[str, Any]) -> str:
    if about.get("accuracy") is None:
        return "-"
    if about.get("map") is not None:
        return f"mAP {about['map']:.1%} {about['accuracy_of']}"
    return f"{about['accuracy']:.1%} {about['accuracy_of']}"


def _local(created: str) -> str:
    return f"{datetime.fromisoformat(created).astimezone():%Y-%m-%d %H:%M}"


def _lines(folder: Path, manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns titles and texts."""
    from tlkit.errors import some
    from tlkit.runs import summary
    from tlkit.sizes import bytes_in, size_text
    from tlkit.transfer.grow import remembered_text

    weights, freeze, schedule = manifest["weights"], manifest["freeze"], manifest["schedule"]
    sizes = ", ".join(f"{len(photos)} {name}" for name, photos in manifest["split"].items())
    classes = manifest["classes"]
    lines = [
        ("Run", f"{folder} ({size_text(bytes_in(folder))})"),
        ("Status", f"{manifest['status']}, begun {_local(manifest['created'])}"),
        ("Command", manifest["command"]),
        ("Base", f"{manifest['base']}, head {manifest['head']}"),
        ("Weights", f"{weights.get('source')}{f', sha256 {sha256}' if (sha256 := weights.get('sha256')) else ''}"),
        ("Freeze", _freeze(freeze)),
        ("Data", f"{summary(manifest)['data']}, {manifest['data']['root']}"),
        ("Classes", f"{len(classes)}: {some(classes, 8)}"),
        ("Photos", sizes),
        ("Schedule", _scalars(schedule) or "-"),
    ]
    if isinstance(parent := manifest["parent"], dict) and "new_classes" in parent:
        new = f", new classes: {some(parent['new_classes'], 8)}" if parent["new_classes"] else ""
        lines.insert(3, ("Parent", f"{parent['folder']}, model sha256 {parent['model_sha256']}"))
        lines.insert(4, ("Grown by", f"{parent['added']} photos{new}"))
    for name, part in manifest["metrics"].items():
        if part and "thresholds" in manifest:
            lines.append((f"Figures, {name}", split_text(part)))
        elif part:
            lines.append((f"Accuracy, {name}", f"{part['accuracy']:.1%} of {part['images']} photos"))
        if part and (old := part.get("old_classes")):
            lines.append(("Old classes", remembered_text(old)))
    if "thresholds" in manifest:
        lines.append(("Thresholds", thresholds_text(classes, manifest["thresholds"])))
    return lines + [("Artifact", _artifact(entry)) for entry in manifest["artifacts"]]


def _freeze(freeze: dict[str, Any]) -> str:
    never = ", ".join(freeze.get("frozen_stages", [])) or "none"
    chosen = freeze.get("chosen") or {}
    text = f"{freeze.get('strategy')}, stages that were never trained: {never}"
    return f"{text}; chosen: {chosen['strategy']}, as {chosen['why']}" if chosen else text


def _scalars(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if isinstance(value, str | int | float))


def _artifact(entry: dict[str, Any]) -> str:
    from tlkit.sizes import size_text

    parity = entry.get("parity") or {}
    text = f"{entry['path']} ({size_text(entry.get('bytes', 0))})"
    if "decision_agreement" in parity:
        return f"{text}, {parity_text(parity)}"
    if "top1_agreement" in parity:
        text += f", agrees with Keras on {parity['top1_agreement']:.1%} of {parity['images']} photos"
    if parity.get("accuracy") is not None:
        text += f", accuracy {parity['accuracy']:.1%}"
    return text


def _print_hardest(manifest: dict[str, Any]) -> None:
    metrics = manifest["metrics"]
    rows = ((metrics.get("test") or metrics.get("val") or {}).get("per_class")) or []
    if "thresholds" in manifest:
        print_hardest(rows)
        return
    worst = sorted(rows, key=lambda row: row["recall"])[:5]
    if len(rows) > 2 and worst[0]["recall"] < 1:
        table = [["hardest classes", "photos", "precision", "recall"]]
        table += [[r["class"], str(r["images"]), f"{r['precision']:.1%}", f"{r['recall']:.1%}"] for r in worst]
        print_table(table, right=(1, 2, 3))
