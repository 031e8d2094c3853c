"""The child process in which a .tflite file is opened and run: whatever the file does, only this process dies.

    python -m tlkit.convert.tflite_worker FILE

Frames go both ways: 8 bytes of length, then the content. The first one out is JSON, `labels`, `about`, `input` and
`output` of the file, or `error`. From then on each frame in is uint8 pixels `[N, S, S, 3]`, and each frame out float32
probabilities `[N, classes]`.
"""

import json
import os
import struct
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tlkit.convert.tflite_pack import unpack
from tlkit.errors import TlkitError

if TYPE_CHECKING:
    from tlkit.convert.tflite_runtime import TfliteModel

_LENGTH = struct.Struct("<Q")


def write_frame(stream: IO[bytes], content: bytes) -> None:
    """Sends one frame."""
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Receives one frame; None when the other side has ended."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def main() -> None:
    """Serves one file until its input ends."""
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what native code prints must not get between the frames
    model, found = _open(Path(sys.argv[1]))
    write_frame(outgoing, json.dumps(found).encode())
    while model is not None and (content := read_frame(incoming)) is not None:
        write_frame(outgoing, _run(model, content))


def _open(path: Path) -> "tuple[TfliteModel | None, dict[str, Any]]":
    try:
        labels, about = unpack(path)
        from tlkit.convert.tflite_runtime import TfliteModel

        model = TfliteModel(path)
        return model, {"labels": labels, "about": about, **model.describe()}
    except TlkitError as err:
        return None, {"error": str(err)}
    except Exception as err:  # whatever a damaged file provokes in the runtime
        reason = str(err).strip().partition("\n")[0]
        return None, {"error": f"LiteRT can't load {path} ({reason}): the file is damaged, or not a classifier."}


def _run(model: "TfliteModel", content: bytes) -> bytes:
    import numpy as np

    images = np.frombuffer(content, np.uint8).reshape(-1, *model.input["shape"][1:])
    return b"".join(row.tobytes() for row in model.predict_all(images))


if __name__ == "__main__":
    main()
