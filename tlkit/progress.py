"""What a user sees while something takes time: bars, notes and warnings on stderr, never on stdout."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


class Bar:
    """One task under way. Counts; knows its rate."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.note = total, 0, ""
        self.started = time.perf_counter()

    def advance(self, count: int = 1, *, note: str | None = None) -> None:
        """Counts `count` more units, and shows `note` behind the bar."""
        self.done += count
        if note is not None:
            self.note = note

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started


class Progress:
    """Shows nothing: for libraries, tests and `--quiet`. `Screen` shows it all."""

    def say(self, text: str) -> None:
        """Tells something the user should know."""

    def warn(self, text: str) -> None:
        """Tells something the user should act on."""

    @contextmanager
    def bar(self, title: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Shows a bar for `total` units of work while the block runs."""
        yield Bar(total)


class Screen(Progress):
    """Shows progress on a terminal with rich; anywhere else, one line per finished task."""

    def __init__(self, file: TextIO | None = None) -> None:
        from rich.console import Console

        self._console: Console = Console(file=file or sys.stderr, highlight=False)

    def say(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Prints a line in yellow."""
        self._console.print(f"Warning: {text}", markup=False, soft_wrap=True, style="yellow")

    @contextmanager
    def bar(self, title: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Shows a live bar with rate and remaining time; leaves one line behind."""
        if self._console.is_terminal:
            with self._live(title, total, unit) as live:
                yield live
            bar: Bar = live
        else:
            bar = Bar(total)
            yield bar
        rate = f", {bar.done / bar.seconds:,.0f} {unit}/s" if bar.seconds > 0.5 else ""
        note = f"  {bar.note}" if bar.note else ""
        self.say(f"{title}: {bar.done:,} {unit} in {bar.seconds:.1f} s{rate}{note}")

    @contextmanager
    def _live(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        from rich import progress as rich

        columns = (
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[rate]}", markup=False),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[note]}", markup=False),
        )
        with rich.Progress(*columns, console=self._console, transient=True) as display:
            task = display.add_task(title, total=total, rate="", note="")

            class LiveBar(Bar):
                def advance(self, count: int = 1, *, note: str | None = None) -> None:
                    super().advance(count, note=note)
                    rate = f"{self.done / max(self.seconds, 1e-6):,.0f} {unit}/s"
                    display.update(task, completed=self.done, rate=rate, note=self.note)

            yield LiveBar(total)
