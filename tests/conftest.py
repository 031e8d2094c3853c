"""What tests share: real photos in every format, a cache of their own, one trained run and its artifact."""

import builtins
import errno
import io
import os
import shutil
import socket
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# No test reaches outside this machine: whatever tries is refused by a closed port at once.
for _name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
    os.environ[_name] = "http://127.0.0.1:9"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"
ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    skip = pytest.mark.skip(reason="needs the photos and weights in ../shared, which are not on this machine")
    for item in items:
        if "real_data" in item.keywords and not SHARED.is_dir():
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _own_places(tmp_path_factory):
    """No test touches the user's caches."""
    os.environ["TLKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["KERAS_HOME"] = str(tmp_path_factory.mktemp("keras"))


@pytest.fixture(autouse=True)
def _same_random_weights():
    """Random weights are those of the test, whatever ran before it in the same process."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch):
    connect = socket.socket.connect

    def checked(self, address):
        local = not isinstance(address, tuple) or str(address[0]) in ("127.0.0.1", "localhost", "::1")
        assert local, f"a test tried to reach {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)


@pytest.fixture(scope="session")
def shared():
    """The folder with real photos and weights; tests that use it are marked `real_data`."""
    return SHARED


@pytest.fixture(scope="session")
def weights_v2(shared):
    """Real ImageNet weights of MobileNetV2."""
    return shared / "weights" / "mobilenet_v2_1.0_224_imagenet.weights.h5"


def photo(seed=0, size=(48, 36)):
    """A picture with edges, gradients and noise, as photos have; a class can be told by its hue."""
    random = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / (3 + c) + seed) + np.cos(y / (4 + c) - seed) for c in range(3)], axis=-1)
    values = 128 + 45 * waves + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def scene(seed=0, size=(160, 120)):
    """A picture of a few soft shapes, as photos are from afar: what is left of it when it is made small tells it."""
    random = np.random.default_rng(seed)
    shapes = np.clip(128 + 45 * random.normal(size=(5, 6, 3)), 0, 255).astype(np.uint8)
    values = np.asarray(Image.fromarray(shapes).resize(size, Image.Resampling.BICUBIC)) + random.normal(
        0, 6, size[::-1] + (1,)
    )
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def coloured(label, seed, size=(40, 40)):
    """A photo whose colour tells its class."""
    random = np.random.default_rng(1000 * label + seed)
    base = np.array([[220, 60, 50], [50, 200, 80], [60, 70, 220], [220, 200, 60]][label % 4])
    values = base + random.normal(0, 35, (size[1], size[0], 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def halves(labels, seed, size=(32, 32)):
    """A photo of any two of four labels: colours, each in a half of its own; grey where there is none."""
    random = np.random.default_rng(seed)
    values = random.normal(110, 20, (size[1], size[0], 3))
    parts = random.permutation([slice(0, size[0] // 2), slice(size[0] // 2, None)])
    for label, part in zip(labels, parts, strict=False):
        values[:, part] = np.asarray(coloured(label, seed, size))[:, part]
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def multi_label_table(root, photos=160, classes=("ants", "bees", "wasps"), seed=0):
    """Makes `<root>/*.png` with 0 to 2 labels each, and `<root>/labels.csv`, whose path it returns."""
    root.mkdir(parents=True, exist_ok=True)
    random, lines = np.random.default_rng(seed), ["path,labels"]
    for i in range(photos):
        labels = random.permutation(len(classes))[: i % 3]
        halves(labels, i).save(root / f"{i:04d}.png")
        lines.append(f"{i:04d}.png,{'|'.join(classes[label] for label in labels)}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root / "labels.csv"


def mutated_images(count, seed=0):
    """Yields the contents of image files, each with a few bytes changed, half of them in the headers."""
    random = np.random.default_rng(seed)
    exif = Image.Exif()
    exif[0x0112] = 6
    originals = []
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        file = io.BytesIO()
        photo(1).save(file, kind, **({} if kind == "GIF" else {"exif": exif}))
        originals.append(file.getvalue())
    for i in range(count):
        content = bytearray(originals[i % 4])
        for at in random.integers(0, min(len(content), 400 if i % 2 else len(content)), random.integers(1, 12)):
            content[at] = random.integers(0, 256)
        yield bytes(content)


def settled(model, seed=0, x=None):
    """Gives every batch norm the statistics of its input, so that a random network does not fade to zero.

    The input is `x`, or noise.
    """
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    if x is None:
        x = np.random.default_rng(seed).uniform(0, 255, (16, *model.input.shape[1:])).astype(np.float32)
    model(x, training=True)
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    return model


@pytest.fixture
def make_folder(tmp_path):
    """Makes `<tmp>/<name>/<class>/*.png` with some photos of each class."""

    def make(name="photos", classes=("ants", "bees", "wasps"), each=10, first=0):
        root = tmp_path / name
        for label, one in enumerate(classes):
            (root / one).mkdir(parents=True, exist_ok=True)
            for i in range(first, first + each):
                coloured(label, i).save(root / one / f"{i:03d}.png")
        return root

    return make


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A complete run: LeNet-5 on the embedded digits, trained once for all tests. Copy it before changing it."""
    from tlkit.transfer.finetune import finetune
    from tlkit.transfer.options import FinetuneOptions

    runs = tmp_path_factory.mktemp("runs")
    return finetune(FinetuneOptions(base="lenet5", epochs=8, runs=runs, name="lenet"))


def with_several_labels(manifest):
    """A manifest as it would be if its photos could have several labels each."""
    split = {
        part: [{"path": one["path"], "labels": [one["label"]], "sha256": one["sha256"]} for one in photos]
        for part, photos in manifest["split"].items()
    }
    return {**manifest, "task": "multi_label", "split": split, "thresholds": [0.5] * len(manifest["classes"])}


@pytest.fixture
def run(run_folder, tmp_path):
    """A copy of the trained run, in `<tmp>/runs/lenet`."""
    return Path(shutil.copytree(run_folder, tmp_path / "runs" / "lenet"))


@pytest.fixture(scope="session")
def artifact(run_folder, tmp_path_factory):
    """The trained run as `model.tflite`, float32, alone in its folder. Copy it before changing it."""
    from tlkit.convert.export import export
    from tlkit.convert.options import ExportOptions

    run = Path(shutil.copytree(run_folder, tmp_path_factory.mktemp("exported") / "lenet"))
    made = run / export(run, ExportOptions())["path"]
    return Path(shutil.copy(made, tmp_path_factory.mktemp("artifact") / "model.tflite"))


@pytest.fixture(scope="session")
def multi_label_folder(tmp_path_factory):
    """A complete run with any number of labels, trained once for all tests. Copy it before changing it."""
    import keras

    from tlkit.transfer.finetune import finetune
    from tlkit.transfer.options import FinetuneOptions

    place = tmp_path_factory.mktemp("several")
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
    x = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(image, x).save(place / "base.keras")
    options = {"epochs": 8, "batch_size": 8, "learning_rate": 1e-2, "patience": 0, "weights": "none", "freeze": "none"}
    data, runs = multi_label_table(place / "photos"), place / "runs"
    return finetune(
        FinetuneOptions(base=place / "base.keras", data=data, multi_label=True, runs=runs, name="several", **options)
    )


@pytest.fixture
def multi_label_run(multi_label_folder, tmp_path):
    """A copy of it, in `<tmp>/runs/several`."""
    return Path(shutil.copytree(multi_label_folder, tmp_path / "runs" / "several"))


class FullDisk:
    """A folder whose disk becomes full at the k-th step that needs room: a file made, a write, a rename, a folder made.

    From then on whatever writes fails too, except renames: they need no room. `steps` counts what was asked for.
    """

    def __init__(self, folder):
        self.folder, self.full_at, self.steps = Path(folder).resolve(), None, 0

    def becomes_full_at(self, step):
        """Starts counting; None never fails."""
        self.full_at, self.steps = step, 0

    def covers(self, path):
        return isinstance(path, str | os.PathLike) and Path(os.path.abspath(path)).is_relative_to(self.folder)

    def take(self, path, *, renames=False):
        """Counts a step, and fails where the disk is full. A write, unlike all else, does not know its path."""
        self.steps += 1
        if self.full_at is not None and (self.steps == self.full_at or (self.steps > self.full_at and not renames)):
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if path is not None:
                error.filename = os.fspath(path)
            raise error


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """A `FullDisk` over `tmp_path`, for what Python writes there (not for what C++ does)."""
    disk = FullDisk(tmp_path)
    real_open, real_os_open, real_replace, real_mkdir = io.open, os.open, os.replace, os.mkdir

    class Raw(io.FileIO):
        def write(self, data):
            disk.take(None)
            return super().write(data)

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if not (set(mode) & set("wax+")) or not disk.covers(file):
            return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        disk.take(file)
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        binary = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, encoding, errors, newline)

    def os_opened(path, flags, *rest, **named):
        if flags & os.O_CREAT and disk.covers(path):
            disk.take(path)
        return real_os_open(path, flags, *rest, **named)

    def replaced(source, target, **named):
        if disk.covers(target):
            disk.take(target, renames=True)
        return real_replace(source, target, **named)

    def made(path, *rest, **named):
        if disk.covers(path):
            disk.take(path)
        return real_mkdir(path, *rest, **named)

    for owner, name, new in (
        (io, "open", opened),
        (builtins, "open", opened),
        (os, "open", os_opened),
        (os, "replace", replaced),
        (os, "mkdir", made),
    ):
        monkeypatch.setattr(owner, name, new)
    return disk


def tree(folder):
    """Everything below a folder: path to contents, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(Path(folder).rglob("*"))
    }
