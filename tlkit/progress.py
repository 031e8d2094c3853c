"""What a user sees while something takes time: bars, notes and warnings on stderr, never on stdout."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    pass


class Bar:
    """One task under way. Counts; knows how long it takes."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.note = total, 0, ""
        self.started = time.perf_counter()
        self._first: tuple[int, float] | None = None

    def advance(self, count: int = 1, *, note: str | None = None) -> None:
        """Counts `count` more units, and shows `note` behind the bar."""
        self.done += count
        if note is not None:
            self.note = note
        if self._first is None and count:
            self._first = self.done, self.seconds

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def remaining(self) -> float:
        """Seconds to go, 0 while unknown. The first step, which is slow, does not count."""
        done, seconds = self._first or (0, 0.0)
        return (self.total - self.done) * (self.seconds - seconds) / (self.done - done) if self.done > done else 0.0


class Progress:
    """Shows nothing: what library code gets when nobody watches. `Screen` shows it all."""

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
            bar = self._estimating(title, total)
            yield bar
        rate = f", {bar.done / bar.seconds:,.0f} {unit}/s" if bar.seconds > 0.5 and total > 1 else ""
        note = f"  {bar.note}" if bar.note else ""
        self.say(f"{title}: {bar.done:,} {unit} in {bar.seconds:.1f} s{rate}{note}")

    def _estimating(self, title: str, total: int) -> Bar:
        """Returns a bar that says once how long it will take, when that is over a minute."""
        say, told = self.say, False

        class EstimatingBar(Bar):
            def advance(self, count: int = 1, *, note: str | None = None) -> None:
                nonlocal told
                super().advance(count, note=note)
                if not told and self.seconds > 3 and self.remaining:
                    told = True
                    if self.remaining > 60:
                        say(f"{title}: about {self.remaining / 60:.0f} minutes to go")

        return EstimatingBar(total)

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
