"""Ctrl-C in two steps: the first asks to stop after the batch, the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tlkit.progress import Progress

_IN_TRAINING = "Stopping after this batch, then evaluating; Ctrl-C again stops at once"


class Interrupt:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stopping_softly(progress: Progress, message: str = _IN_TRAINING) -> Iterator[Interrupt]:
    """Catches the first Ctrl-C within the block; from the second on, Ctrl-C is what it was before.

    Outside of the main thread, where Python takes no signals, nothing changes.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: object) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, before)
        progress.say(message)

    if not callable(before):  # ignored, as in a background job
        yield interrupt
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
