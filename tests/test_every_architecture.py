"""Every architecture learns 16 real photos by heart and goes to the device: nothing in the table is only on paper."""

import csv
import json

import pytest
from PIL import Image, ImageEnhance

from tlkit.api import finetune
from tlkit.convert import tflite_file
from tlkit.models.table import ARCHITECTURES

PRECISIONS = ("float32", "int8")
QUICK = ("lenet5", "mobilenet_v1")  # plain pytest runs these two
# Photos in a step, epochs and learning rate, by family. LeNet's sigmoids are slow to begin, VGG goes astray at 1e-3;
# the statistics of batch norms need a hundred steps, and the same photos in each, where a map is but one pixel.
STEPS = {"lenet": (4, 240, 5e-3), "alexnet": (8, 60, 1e-3), "vgg": (16, 150, 5e-4)}


@pytest.fixture(scope="session")
def sixteen(shared, tmp_path_factory):
    """16 photos of ants and bees to learn; to prove with, the same ones a little brighter."""
    root = tmp_path_factory.mktemp("sixteen")
    for name in ("ants", "bees"):
        for part in ("train", "val"):
            (root / part / name).mkdir(parents=True)
        found = sorted((shared / "data" / "ants_bees" / "train" / name).glob("*.jpg"))
        for i, path in enumerate(found[:8]):
            photo = Image.open(path).convert("RGB").resize((96, 96), Image.Resampling.BILINEAR)
            photo.save(root / "train" / name / f"{i}.png")
            ImageEnhance.Brightness(photo).enhance(1.01).save(root / "val" / name / f"{i}.png")
    return root


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", [pytest.param(a.name, marks=() if a.name in QUICK else pytest.mark.slow) for a in ARCHITECTURES]
)
def test_it_learns_16_photos_and_passes_the_parity_gate_in_float32_and_int8(name, sixteen, tmp_path):
    architecture = next(a for a in ARCHITECTURES if a.name == name)
    default = (16, 120 if architecture.params > 40e6 else 200, 1e-3)
    batch_size, epochs, learning_rate = STEPS.get(architecture.family, default)
    run = finetune(
        sixteen,
        base=name,
        weights="none",
        freeze="none",
        input_size=architecture.smallest(architecture.head),
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
        dropout=0.0,
        patience=0,
        runs=tmp_path,
    )
    rows = list(csv.DictReader((run.folder / "history.csv").read_text().splitlines()))
    assert max(float(row["accuracy"]) for row in rows) == 1.0
    assert run.manifest["metrics"]["val"]["accuracy"] > 0.9  # of 16 photos a little brighter than those
    proven = set()
    for precision in PRECISIONS:
        entry = run.export("tflite", precision)
        assert entry["parity"]["images"] == 16 and entry["parity"]["top1_agreement"] >= 0.97
        tflite_file.check_no_auxiliaries((run.folder / entry["path"]).read_bytes())
        proven.add(f"tflite {precision}")
    assert set(architecture.verified) == proven
    assert len(json.loads((run.folder / "run.json").read_text())["artifacts"]) == len(PRECISIONS)
