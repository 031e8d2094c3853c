"""`tlkit cache`: what is kept so that it need not be computed again."""

from datetime import datetime
from typing import Any

import click

from tlkit.cli.common import HELP, Subcommands, ask_to_remove, json_option, print_json, print_table, yes_option


@click.group("cache", cls=Subcommands, context_settings=HELP)
def command() -> None:
    """Show, clear and limit the cache. Without a subcommand: show, which takes --json.

    \b
    Example:
      tlkit cache
      tlkit cache limit 20GB
      tlkit cache clear
    """


@command.command("show", context_settings=HELP)
@json_option
def show(as_json: bool) -> None:
    """Show what is in the cache, the most recently used first.

    \b
    Example:
      tlkit cache show
      tlkit cache show --json
    """
    from tlkit.data.cache import cache_folder, entries, limit
    from tlkit.sizes import size_text

    found = entries()
    used = sum(entry.bytes for entry in found)
    rows = [
        {
            "what": entry.kind,
            "base": entry.about.get("base"),
            "boundary": entry.about.get("boundary"),
            "images": entry.about.get("images"),
            "used": f"{datetime.fromtimestamp(entry.used).astimezone():%Y-%m-%d %H:%M}",
            "in_use": entry.in_use,
            "bytes": entry.bytes,
            "path": str(entry.path),
        }
        for entry in found
    ]
    if as_json:
        print_json({"folder": str(cache_folder()), "limit": limit(used), "bytes": used, "entries": rows})
        return
    click.echo(f"Folder   {cache_folder()}")
    click.echo(f"Limit    {_limit_text()}")
    click.echo(f"Total    {size_text(used)}")
    if rows:
        cells = [[str(_or_dash(row[key])) for key in ("what", "base", "boundary", "images", "used")] for row in rows]
        sizes = [size_text(entry.bytes) + (" (in use)" if entry.in_use else "") for entry in found]
        table = [[*line, size] for line, size in zip(cells, sizes, strict=True)]
        print_table([["what", "base", "up to", "images", "last used", "size"], *table], right=(3, 5))


@command.command("clear", context_settings=HELP)
@yes_option
@json_option
def clear(yes: bool, as_json: bool) -> None:
    """Remove everything that can be made again, after asking. What a process is working on is left.

    \b
    Example:
      tlkit cache clear
      tlkit cache clear --yes
    """
    from tlkit.data import cache
    from tlkit.sizes import size_text

    used = sum(entry.bytes for entry in cache.entries())
    ask_to_remove([f"{cache.cache_folder()} ({size_text(used)})"], yes=yes or not used)
    removed, left = cache.clear()
    freed = sum(entry.bytes for entry in removed)
    if as_json:
        print_json({"freed": freed, "left": [str(entry.path) for entry in left]})
        return
    click.echo(f"Freed {size_text(freed)} ({freed:,} bytes) in {cache.cache_folder()}")
    for entry in left:
        click.echo(f"Left {entry.path} ({size_text(entry.bytes)}): a process is working on it")


@command.command("limit", context_settings=HELP)
@click.argument("size", required=False)
@json_option
def limit(size: str | None, as_json: bool) -> None:
    """Print or set how much the whole cache may take: SIZE is 500MB, 20GB, 1.5TB, 32GiB ... or default.

    Above it, the least recently used features make room for new ones. The limit never exceeds what fits on the disk.

    \b
    Example:
      tlkit cache limit
      tlkit cache limit 20GB
      tlkit cache limit default
    """
    from tlkit.data import cache
    from tlkit.sizes import parse_size

    if size is not None:
        cache.change_limit(None if size.lower() == "default" else parse_size(size))
    if as_json:
        print_json({"limit": cache.limit(_used()), "set": cache.set_limit()})
        return
    click.echo(_limit_text())


def _used() -> int:
    from tlkit.data.cache import entries

    return sum(entry.bytes for entry in entries())


def _limit_text() -> str:
    from tlkit.data import cache
    from tlkit.sizes import size_text

    setting, now = cache.set_limit(), cache.limit(_used())
    if setting is None:
        reason = "the default"
    else:
        reason = "as set" if now == setting else f"set to {size_text(setting)}, but the disk has no more"
    return f"{size_text(now)} ({reason})"


def _or_dash(value: Any) -> Any:  # noqa: ANN401
    return "-" if value is None else value
