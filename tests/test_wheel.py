"""The wheel, installed elsewhere and used from an empty folder."""

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import pytest

from .conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_code_recipes_kits_and_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("tlkit/api.py", "tlkit/py.typed", "recipes/lenet_digits.py", "tlkit/_export/README.md"):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]


def test_its_metadata_asks_for_nothing_that_breaks_the_environment(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    text = archive.read(name).decode()
    requires = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("Requires-Dist")]
    assert not [line for line in requires if line.startswith(("tflite-runtime", "tensorrt", "tensorflow-cpu"))]
    extras = {line.partition(": ")[2] for line in text.splitlines() if line.startswith("Provides-Extra")}
    assert extras == {"compress", "data", "fast", "jax", "onnx", "plot", "tune", "dev", "golden", "all"}
    assert "Requires-Python: >=3.11" in text


def test_an_installed_wheel_works_from_an_empty_folder(wheel, tmp_path):
    """In an environment of its own that sees this one's libraries, but not this checkout."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install"] if find_spec("pip") else ["uv", "pip", "install"]
    subprocess.run([*install, "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True)
    code = (
        "import tlkit, recipes\n"
        "from recipes import lenet_digits\n"
        "result = lenet_digits.run(epochs=12)\n"
        "print(tlkit.__file__, recipes.__file__)\n"
        "print(result.artifact['parity']['top1_agreement'], len(result.predictions))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=empty,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    places, figures = done.stdout.splitlines()[-2:]
    assert all(place.startswith(str(site)) for place in places.split())
    agreement, count = figures.split()
    assert float(agreement) >= 0.97
    assert int(count) >= 4
    assert [path.name for path in empty.iterdir()] == ["runs"]
