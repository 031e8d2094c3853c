"""Batches made ahead of their use, in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
DEPTH = 3  # batches made before they are asked for
THREADS = 2  # one may wait for the last photo of a batch, while the other begins the next


def ahead(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """Yields what `make` makes of each item, in order, while the next ones are being made.

    What `make` raises is raised where its item would come. A consumer that stops early leaves no thread behind.
    """
    waiting: deque[Future[Made]] = deque()
    items = iter(given)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="tlkit-ahead") as threads:
        try:
            for item in items:
                waiting.append(threads.submit(make, item))
                if len(waiting) > DEPTH:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
