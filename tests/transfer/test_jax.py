"""Training on JAX: the same steps, the same run, without TensorFlow."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tlkit
from tlkit import lazy
from tlkit.data.ahead import DEPTH, ahead
from tlkit.errors import MissingDependencyError, OptionError
from tlkit.manifest import read_manifest, write_manifest
from tlkit.models import registry
from tlkit.transfer import backend
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.padding import padded
from tlkit.transfer.plans import plan

from ..conftest import ROOT
from . import jax_case, step_case


def on_jax(module, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", f"tests.transfer.{module}", *map(str, arguments)]
    done = subprocess.run(program, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    "cases", [["everything"], pytest.param(["all", "its stage"], marks=pytest.mark.slow)], ids="-".join
)
def test_a_step_on_jax_moves_what_one_on_tensorflow_moves(cases, tmp_path):
    step_case.make(tmp_path / "given.npz")
    on_jax("step_case", tmp_path / "given.npz", tmp_path / "found.npz", *cases)
    given, found = np.load(tmp_path / "given.npz"), np.load(tmp_path / "found.npz")
    for case in cases:
        values, told = step_case.train(case, given)
        np.testing.assert_allclose(found[f"{case} told"], told, rtol=1e-4)
        before = [given[f"{case} w{i}"] for i in range(len(values)) if f"{case} w{i}" in given]
        assert sum(not np.array_equal(a, b) for a, b in zip(before, values, strict=False)) >= 4
        for i, value in enumerate(values):
            # The fused operation of TensorFlow's Adam differs by up to 5e-5 of an update.
            np.testing.assert_allclose(found[f"{case} {i}"], value, rtol=1e-3, atol=2e-6, err_msg=f"{case}, {i}")


@pytest.mark.slow
def test_a_run_from_arrays_on_jax_is_evaluated_and_exported_on_tensorflow(tmp_path):
    keras.utils.set_random_seed(0)
    registry.build("lenet5", classes=10, input_size=28, head="original").save_weights(tmp_path / "w.weights.h5")
    said = on_jax("jax_case", tmp_path / "runs", tmp_path / "w.weights.h5")
    assert "Exporting needs the TensorFlow backend, and Keras takes 'jax'. Unset KERAS_BACKEND" in said
    run = tlkit.load_run("whole", tmp_path / "runs")
    versions = run.manifest["versions"]
    assert (versions["backend"], "jax" in versions, "tensorflow" in versions) == ("jax", True, False)
    evaluation = run.evaluate()
    assert evaluation.accuracy == run.manifest["metrics"]["test"]["accuracy"]
    assert run.export("tflite")["parity"]["max_probability_difference"] < 1e-4
    # A head on frozen features: nothing is drawn but the order of the photos, so it is the same one.
    head = tlkit.load_run("head", tmp_path / "runs")
    same = tlkit.finetune(
        x=jax_case.X, y=jax_case.Y, weights=tmp_path / "w.weights.h5", runs=tmp_path / "runs", **jax_case.HEAD
    )
    assert head.manifest["split"] == same.manifest["split"]
    pairs = list(zip(head.model.get_weights(), same.model.get_weights(), strict=True))
    assert np.abs(pairs[-2][1]).max() > 5e-4  # the head began at zero
    for one, two in pairs:
        np.testing.assert_allclose(one, two, atol=2e-6)


@pytest.mark.slow
def test_the_command_line_trains_a_folder_on_jax(make_folder, tmp_path):
    program = [sys.executable, "-m", "tlkit", "finetune", "--base", "lenet5", "--data", str(make_folder())]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    more = ["--epochs", "1", "--runs", str(tmp_path / "runs"), "--name", "a"]
    done = subprocess.run([*program, *more], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "runs" / "a")["versions"]["backend"] == "jax"


def test_a_backend_is_known_before_keras_is_imported(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert lazy.keras_backend() == "tensorflow"
    for content, name in (('{"backend": "torch"}', "torch"), ("{", "tensorflow"), ("[]", "tensorflow")):
        (tmp_path / "keras.json").write_text(content)
        assert lazy.keras_backend() == name
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert lazy.keras_backend() == "jax"


@pytest.fixture
def jax_is_set(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")


def test_augmentation_needs_tensorflow_and_is_not_the_default_elsewhere(monkeypatch):
    options = FinetuneOptions(base="mobilenet_v2", data="photos", freeze="none")
    assert plan(options).phases[0].augment == "light"
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert plan(options).phases[0].augment == "none"
    with pytest.raises(
        OptionError, match="--augment strong needs the TensorFlow backend, and Keras takes 'jax'. Leave --augment out"
    ):
        plan(FinetuneOptions(base="mobilenet_v2", data="photos", augment="strong"))


def test_a_backend_without_a_step_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(
        OptionError, match="Training does not run on Keras' backend 'torch'. Set KERAS_BACKEND to tensorflow or jax"
    ):
        plan(FinetuneOptions(base="lenet5"))


def test_jax_that_is_not_installed_is_named_with_its_command(jax_is_set, monkeypatch):
    monkeypatch.setattr(lazy.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tlkit\[jax\]'"):
        lazy.import_keras()


def missing(name):
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_run_goes_on_with_its_own_backend(run, monkeypatch):
    manifest = read_manifest(run)
    assert manifest["versions"]["backend"] == "tensorflow"
    backend.check_same_backend(run, manifest)
    write_manifest(run, manifest | {"status": "running", "versions": manifest["versions"] | {"backend": "jax"}})
    with pytest.raises(OptionError, match="begun with Keras' backend 'jax', and this process takes 'tensorflow'. Set"):
        tlkit.resume(run.name, run.parent)


def test_what_is_made_ahead_comes_in_order_and_no_further_than_needed():
    made = []
    found = ahead(lambda i: made.append(i) or 2 * i, iter(range(100)))
    assert [next(found) for _ in range(4)] == [0, 2, 4, 6]
    found.close()
    assert made == list(range(len(made))) and len(made) <= 5 + DEPTH
    assert list(ahead(str, [])) == []
    assert list(ahead(str, [1, 2])) == ["1", "2"]


def test_an_error_comes_where_its_batch_would():
    found = ahead(lambda i: 1 // i, [1, 1, 0, 1])
    assert [next(found), next(found)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_a_batch_is_filled_up_with_its_last_row():
    batch = np.arange(6).reshape(3, 2)
    assert padded(batch, 3) is batch
    assert padded(batch, 5).tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
