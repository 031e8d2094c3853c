"""Files of a few kilobytes that claim, or unpack to, gigabytes: refused with the reason, in bounded memory."""

import functools
import json
import os
import struct
import subprocess
import sys
import zlib

import pytest

from tlkit.cli.main import main
from tlkit.preprocess import MAX_BYTES

MEMORY = 700 * 2**20  # address space of the child; NumPy, Pillow and their threads take half of it
A_LOT = 150 * 2**20


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, extra=b""):
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@functools.cache
def compressed(size):
    return zlib.compress(b"a" * size, 9)


def jpeg(width, height):
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    scan = b"\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00" + b"\0" * 2000
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda" + scan + b"\xff\xd9"


def gif(screen, frame):
    start = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + b"\0" * 6
    return start + b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x4c\x01\x00;"


def webp(side):
    body = b"\x2f" + struct.pack("<I", (side - 1) | ((side - 1) << 14)) + b"\0" * 21
    body = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp(side):
    return (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
        + b"\0" * 50
    )


MANY = "too many pixels, the limit is 178,956,970"
BOMBS = {
    "tiny.png": (lambda: png(60_000, 60_000), MANY),
    "a.jpg": (lambda: jpeg(65_535, 65_535), MANY),
    "screen.gif": (lambda: gif(65_535, 65_535), MANY),
    "frame.gif": (lambda: gif(10, 65_535), MANY),
    "a.webp": (lambda: webp(16_383), MANY),
    "a.bmp": (lambda: bmp(60_000), MANY),
    "ztxt.png": (lambda: png(30, 30, chunk(b"zTXt", b"k\0\0" + compressed(A_LOT))), "damaged image (Decompressed data"),
    "itxt.png": (
        lambda: png(30, 30, chunk(b"iTXt", b"k\0\1\0\0\0" + compressed(A_LOT))),
        "damaged image (Decompressed data",
    ),
    "iccp.png": (lambda: png(30, 30, chunk(b"iCCP", b"k\0\0" + compressed(A_LOT))), "damaged image (Decompressed data"),
    "texts.png": (
        lambda: png(30, 30, chunk(b"zTXt", b"k\0\0" + compressed(2**20 - 10)) * 200),
        "damaged image (Too much memory used in text chunks",
    ),
}
CHILD = """
import json, resource, sys
from pathlib import Path
from tlkit.errors import ImageError
from tlkit.preprocess import PreprocessSpec, check_image
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
found = {}
for path in sys.argv[2:]:
    for read in (check_image, PreprocessSpec(input_size=24).load):
        try:
            read(Path(path))
        except ImageError as err:
            found.setdefault(Path(path).name, []).append(str(err))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def reasons(tmp_path_factory):
    """Why each file is refused by a process that may not use much memory."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, (make, _) in BOMBS.items():
        (folder / name).write_bytes(make())
    with (folder / "sparse.png").open("wb") as file:
        file.write(png(30, 30))
        file.truncate(MAX_BYTES + 2**20)
    # Every thread of a numerical library reserves address space.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(MEMORY), *map(str, sorted(folder.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_the_reason_in_little_memory(reasons, name):
    start = BOMBS[name][1]
    assert len(BOMBS[name][0]()) < 500_000
    assert len(reasons[name]) == 2
    assert all(reason.startswith(start) for reason in reasons[name])


def test_a_file_beyond_the_limit_is_not_read(reasons):
    assert reasons["sparse.png"] == ["513 MiB, the limit is 512 MiB"] * 2


def test_what_never_ends_is_not_read(run, tmp_path, capsys):
    """A pipe without a writer would be waited for; /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "good.png").write_bytes(b"")
    names = [str(tmp_path / "good.png"), str(tmp_path / "pipe.jpg"), "/dev/zero"]
    assert main(["predict", "--run", str(run), *names]) == 1
    err = capsys.readouterr().err
    assert f"{tmp_path}/pipe.jpg: not a file" in err
    assert "/dev/zero: not a file" in err
    assert "Error: 3 of 3 files could not be classified." in err
