"""The same training on two devices as on one."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from tlkit.errors import DataError, OptionError
from tlkit.manifest import read_manifest
from tlkit.progress import Progress
from tlkit.transfer import devices
from tlkit.transfer.begin import found_out
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan

from ..conftest import ROOT


@pytest.mark.parametrize("given", [0, 65, "some", 1.5])
def test_devices_are_a_number_or_all(given):
    with pytest.raises(OptionError, match="--devices must be a whole number from 1 to 64, or all, not"):
        devices.check(given)


class Gpus:
    """As many GPUs as a test wants; nothing is computed."""

    def __init__(self, monkeypatch, count):
        import tensorflow as tf

        names = [f"/physical_device:GPU:{i}" for i in range(count)]
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: names if kind == "GPU" else [])


@pytest.mark.parametrize(("count", "has"), [(1, "there are 1 GPU"), (3, "there are 3 GPUs")])
def test_more_devices_than_gpus_are_refused(monkeypatch, count, has):
    Gpus(monkeypatch, count)
    with pytest.raises(OptionError, match=rf"--devices 4 was given, and {has}\. Use --devices all\."):
        devices.start(4, Progress())


def test_a_cpu_that_computes_already_is_not_divided_any_more():
    keras.ops.ones(1)
    with pytest.raises(OptionError, match="only before TensorFlow has computed anything: use a new process"):
        devices.start(2, Progress())


def test_another_backend_has_one_device(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(OptionError, match="--devices 2 needs Keras' TensorFlow backend, not jax"):
        devices.start(2, Progress())


def test_one_device_needs_no_strategy():
    assert devices.strategy_for(1) is None
    assert devices.strategy_for("all") is None  # a CPU is one


def python(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize(("case", "tolerance"), [("frozen", 1e-6), ("trained", 1e-5), ("float16", 1e-2)])
def test_two_devices_give_the_weights_of_one(case, tolerance):
    """Odd batches and one of a single photo, class weights, averages, statistics of batch norms."""
    found = json.loads(python("tests.transfer.two_devices", case).stdout.splitlines()[-1])
    assert found["replicas"] == 2
    assert found["moved"] > 1e-3
    assert found["difference"] < tolerance
    assert found["losses"] < 100 * tolerance


@pytest.mark.slow
def test_a_run_on_two_devices_is_that_of_one(tmp_path, make_folder):
    """Cached features first, then pixels; dropout 0, since each device draws its own."""
    photos = make_folder()
    common = ["tlkit", "finetune", "--base", "lenet5", "--weights", "none", "--data", str(photos)]
    common += [
        "--freeze",
        "head-then:up-to:stage1",
        "--epochs",
        "4",
        "--batch-size",
        "8",
        "--dropout",
        "0",
        "--ema",
        "0.9",
        "--learning-rate",
        "0.01",
    ]
    common += ["--runs", str(tmp_path / "runs")]
    runs = {}
    for count in ("1", "2"):
        done = python(*common, "--devices", count, "--name", count)
        assert ("2 logical devices share the CPU" in done.stderr) == (count == "2")
        runs[count] = tmp_path / "runs" / count
    models = [keras.saving.load_model(run / "model.keras", compile=False) for run in runs.values()]
    for one, two in zip(models[0].weights, models[1].weights, strict=True):
        assert np.abs(np.asarray(one) - np.asarray(two)).max() < 1e-4
    assert [read_manifest(run)["options"]["devices"] for run in runs.values()] == [1, 2]
    assert np.abs(models[1].get_layer("head_logits").kernel).max() > 1e-3  # it began at 0
    one, two = (read_manifest(run)["metrics"]["val"] for run in runs.values())
    assert two["per_class"] == one["per_class"]
    assert two["log_loss"] == pytest.approx(one["log_loss"], abs=1e-4)


@pytest.mark.parametrize("base", ["mobilenet_v2", "keras:MobileNetV2"])
def test_devices_start_behind_the_checks_and_before_anything_is_computed(tmp_path, monkeypatch, make_folder, base):
    done = []
    monkeypatch.setattr(devices, "start", lambda count, progress: done.append("devices"))
    monkeypatch.setattr("tlkit.transfer.begin.plan", lambda options: (done.append("plan"), plan(options))[1])
    options = FinetuneOptions(
        base=base, input_size=32, weights="none", freeze="none", devices=2, data=tmp_path / "gone"
    )
    with pytest.raises(OptionError, match="--epochs must be"):
        found_out(replace(options, epochs=0), Progress())
    assert done == []
    with pytest.raises(DataError, match="There is no folder"):
        found_out(options, Progress())
    assert done == (["plan"] if base == "mobilenet_v2" else ["devices", "plan"])
    found_out(replace(options, data=make_folder(each=4)), Progress())
    assert done.count("devices") == (1 if base == "mobilenet_v2" else 2)
