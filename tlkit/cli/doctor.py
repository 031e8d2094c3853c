"""`tlkit doctor`."""

from pathlib import Path

import click

from tlkit.cli.common import HELP, json_option, print_json, print_table, runs_option


@click.command("doctor", context_settings=HELP)
@runs_option
@json_option
@click.pass_context
def command(context: click.Context, runs: Path, as_json: bool) -> None:
    """Find out what this machine can train, export and verify, and what stands in the way.

    Everything is really tried, so it takes a minute. The exit code is 0 when training, export and verification work and
    nothing installed is in conflict, else 1.

    \b
    Example:
      tlkit doctor
      tlkit doctor --json
    """
    from tlkit.doctor import diagnose
    from tlkit.progress import Screen

    diagnosis = diagnose(runs, Screen())
    if as_json:
        print_json(
            {
                "healthy": diagnosis.healthy,
                "capabilities": [vars(finding) for finding in diagnosis.findings],
                "conflicts": [vars(conflict) for conflict in diagnosis.conflicts],
            }
        )
    else:
        rows = [["this machine", "", ""]]
        for finding in diagnosis.findings:
            rows.append([finding.title, finding.status, finding.detail])
            if finding.remedy:
                rows.append(["", "", f"-> {finding.remedy}"])
        print_table(rows)
        for conflict in diagnosis.conflicts:
            click.echo(f"\nConflict: {conflict.found}\n  {conflict.problem}\n  -> {conflict.remedy}")
        if diagnosis.healthy:
            click.echo("This machine can train, export and verify.")
    context.exit(0 if diagnosis.healthy else 1)
