"""`tlkit`: commands load when they are named, and every error becomes a sentence and an exit code."""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence

import click

from tlkit import __version__
from tlkit.cli.common import INTERRUPTED
from tlkit.errors import TlkitError, did_you_mean

COMMANDS = (
    "inspect",
    "finetune",
    "predict",
    "evaluate",
    "suspects",
    "export",
    "models",
    "summary",
    "runs",
    "cache",
    "weights",
    "doctor",
)
_PLACES = "work in another place: --runs for runs, TLKIT_CACHE for the cache, TMPDIR for temporary files."
# What can be done about what the system refuses.
_ADVICE = {
    errno.ENOSPC: f"Free some space there, or {_PLACES}",
    errno.EDQUOT: f"Free some of your quota there, or {_PLACES}",
    errno.EROFS: f"Nothing can be written there; {_PLACES}",
    errno.EACCES: f"Change its permissions, or {_PLACES}",
    errno.EPERM: f"Change its permissions, or {_PLACES}",
}


class Commands(click.Group):
    """Imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command from `tlkit.cli.<name>`."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"tlkit.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests the closest command for one that does not exist."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"There is no command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tlkit")
def cli() -> None:
    """Transfer learning with Keras 3, and export to the edge with proof.

    \b
    Example:
      tlkit finetune --base mobilenet_v2 --data photos/
      tlkit predict photo.jpg
      tlkit export --to tflite --precision int8
    """


def main(args: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code: 0 done, 1 user error, 2 usage, 3 short of the parity limit."""
    try:
        return int(cli.main(args=args, prog_name="tlkit", standalone_mode=False) or 0)
    except click.ClickException as err:
        err.show(sys.stderr)
        return err.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except TlkitError as err:
        _explain(err)
        return err.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains again when it flushes at exit
        return 1
    except OSError as err:
        if err.strerror is None or os.environ.get("TLKIT_DEBUG"):
            raise
        what = f"{err.strerror}{f': {os.fsdecode(err.filename)}' if isinstance(err.filename, str | bytes) else ''}"
        _explain(f"{what}. {advice}" if (advice := _ADVICE.get(err.errno or 0)) else what)
        return 1


def _explain(message: object) -> None:
    click.echo(f"Error: {message}", err=True)
    if os.environ.get("TLKIT_DEBUG"):
        import traceback

        traceback.print_exc()


def run() -> None:
    """The console script: as `main`, in a process that is tlkit's own."""
    from tlkit import lazy
    from tlkit.cli.quiet import quiet_native_libraries

    lazy.own_process = True
    quiet_native_libraries()
    code = main()
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed once more, it would end Python's own tidying up
    sys.exit(code)
