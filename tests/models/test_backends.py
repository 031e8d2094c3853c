"""The architectures on another Keras backend: the same weights give the same logits."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tlkit.models import registry

from ..conftest import settled

# One of each kind of layer: grey input and sigmoid, local response normalization and branches, shortcuts without and
# with projection, inverted residuals, squeeze-and-excite.
CASES = {
    "lenet5": (28, {}),
    "googlenet": (64, {}),
    "resnet18": (64, {}),
    "resnet18 A": (64, {"shortcut": "A"}),
    "mobilenet_v2": (64, {"width_multiplier": 0.35}),
    "mobilenet_v3_small": (64, {}),
}
PROGRAM = """
import sys
import numpy as np, keras
assert keras.backend.backend() == "jax", keras.backend.backend()
from tests.models.test_backends import CASES
from tlkit.models import registry
assert "tensorflow" not in sys.modules, "building needs no TensorFlow"
for case, (size, options) in CASES.items():
    given = np.load(f"{sys.argv[1]}/{case}.npz")
    model = registry.build(case.split()[0], classes=5, input_size=size, head="gap", **options)
    model.set_weights([given[f"w{i}"] for i in range(len(model.weights))])
    logits = np.asarray(model(given["x"], training=False))
    assert logits.shape == (2, 5)
    print(case, np.abs(logits - given["logits"]).max())
"""


@pytest.mark.slow
def test_every_kind_of_architecture_gives_the_same_logits_on_jax(tmp_path):
    for case, (size, options) in CASES.items():
        model = settled(registry.build(case.split()[0], classes=5, input_size=size, head="gap", **options))
        x = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
        weights = {f"w{i}": weight for i, weight in enumerate(model.get_weights())}
        logits = model(x, training=False).numpy()
        assert np.abs(logits).max() > 1e-3
        np.savez(tmp_path / f"{case}.npz", x=x, logits=logits, **weights)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    differences = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert set(differences) == set(CASES)
    assert max(map(float, differences.values())) < 1e-3, differences
