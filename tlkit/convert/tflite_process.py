"""A .tflite file that a user names is opened and run in a child process: a damaged one kills the child alone."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import tlkit
from tlkit.convert import tflite_worker
from tlkit.errors import TlkitError

# Seconds that loading a file, or running one photo, may take on a slow and busy device.
PATIENCE = 60.0


class TfliteProcess:
    """One file in one child.

    Making it starts the child and does not wait, so that both processes load what they need at the same time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        ours = str(Path(tlkit.__file__).parents[1])
        others = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", tflite_worker.__name__, str(path)],
            env={**os.environ, "PYTHONPATH": f"{ours}{os.pathsep}{others}" if others else ours},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; we end the child
        )

    def describe(self) -> dict[str, Any]:
        """Returns `labels`, `about`, `input` and `output` of the file. Called once, first.

        Raises:
            TlkitError: it can't be loaded, carries no labels, or killed the child.
        """
        found = json.loads(self._exchange(None, "loading", PATIENCE))
        if "error" in found:
            raise TlkitError(found["error"])
        return found

    def run(self, pixels: bytes, photos: int) -> bytes:
        """Returns float32 probabilities, `[photos, classes]`, of uint8 pixels, `[photos, S, S, 3]`.

        Raises:
            TlkitError: the child died.
        """
        return self._exchange(pixels, "running", PATIENCE * photos)

    def _exchange(self, content: bytes | None, doing: str, seconds: float) -> bytes:
        """Sends a frame, if there is one, and waits for the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        answer, started = None, time.monotonic()
        try:
            with contextlib.suppress(BrokenPipeError):
                if content is not None:
                    tflite_worker.write_frame(self._process.stdin, content)
                answer = tflite_worker.read_frame(self._process.stdout)
        finally:
            timer.cancel()
        if answer is not None:
            return answer
        code = self._process.wait()
        if time.monotonic() - started >= seconds:
            raise TlkitError(
                f"The runtime was not done {doing} {self.path} after {seconds:.0f} s: the file is damaged, or far too "
                "large for this machine."
            )
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise TlkitError(f"The runtime died while {doing} {self.path} ({how}): the file is damaged, or not a model.")

    def close(self) -> None:
        """Ends the child."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not sent any more
                    pipe.close()
