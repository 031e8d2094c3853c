"""Real processes, really killed."""

import os
import random
import signal
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest

from tlkit.manifest import HIDDEN, read_manifest

from .conftest import coloured

TLKIT = [sys.executable, "-m", "tlkit"]
COMMAND = [
    *TLKIT,
    *("finetune --base mobilenet_v2 --weights none --freeze all-but-head --input-size 64 --name run".split()),
    *("--data photos --epochs 600 --batch-size 4 --patience 0 --seed 3".split()),
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    for label, name in enumerate(("ants", "bees", "wasps")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(60):
            coloured(label, i).save(tmp_path / "photos" / name / f"{i:03d}.png")
    return tmp_path


def begin(command, place):
    with (place / "stderr.txt").open("w") as err:
        return subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=err)


def told(place):
    return (place / "stderr.txt").read_text()


def wait_for(condition, process, seconds=120):
    """Waits until something is so, or the process has ended."""
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_whole(folder):
    """Every file of a run folder opens; none is half of one."""
    for path in folder.rglob("*"):
        assert not path.name.startswith("."), path
        if path.suffix in (".keras", ".npz"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None, path
        elif path.suffix in (".csv", ".txt"):
            assert path.read_text().endswith("\n"), path
        elif path.suffix == ".tflite":
            assert path.read_bytes()[4:8] == b"TFL3", path
    if (folder / "run.json").exists():
        read_manifest(folder)


def head_of(folder):
    return keras.saving.load_model(folder / "model.keras", compile=False).get_layer("head_logits").get_weights()


@pytest.mark.slow
def test_finetune_killed_at_twelve_random_moments_ends_with_the_same_head(place, monkeypatch):
    """A process is killed, its successor goes on and is killed too, until one comes to its end."""
    moments = random.Random(20261120)
    monkeypatch.setenv("TLKIT_CACHE", str(place / "other-cache"))
    reference = begin([*COMMAND, "--runs", "whole"], place)
    assert reference.wait(timeout=400) == 0, told(place)
    monkeypatch.setenv("TLKIT_CACHE", str(place / "cache"))
    folder = place / "runs" / "run"
    kills, phases = 0, []
    while kills < 12:
        process = begin([*COMMAND, "--resume"], place)
        before = folder.exists() and (folder / "run.json").stat().st_mtime_ns

        def at_work(before=before):
            manifest = folder / "run.json"
            return manifest.exists() and manifest.stat().st_mtime_ns != before

        wait_for(at_work, process)
        time.sleep(moments.uniform(0.0, 4.0))
        if process.poll() is not None:  # faster than the kill
            assert process.returncode == 0, told(place)
        else:
            process.kill()
            process.wait()
            kills += 1
            assert process.returncode == -signal.SIGKILL
        phases.append(_phase(folder, place))
        check_whole(folder)
        if read_manifest(folder)["status"] == "complete":
            assert_same(folder, place / "whole" / "run")
            folder.rename(place / "runs" / f"done-{len(phases)}")
    process = begin([*COMMAND, "--resume"], place)
    assert process.wait(timeout=400) == 0, told(place)
    check_whole(folder)
    assert_same(folder, place / "whole" / "run")
    sys.stderr.write(f"killed: {', '.join(phases)}\n")


def _phase(folder, place):
    if read_manifest(folder)["status"] == "complete":
        return "done"
    if (folder / "checkpoints").exists():
        return "after a checkpoint"
    features = [path.name for path in (place / "cache" / "features").glob("*") if not path.name.startswith(".")]
    return "feature pass" if any(name.endswith(".partial") for name in features) else "training"


def assert_same(folder, whole):
    assert max(np.abs(a - b).max() for a, b in zip(head_of(folder), head_of(whole), strict=True)) < 1e-6
    ours, theirs = read_manifest(folder), read_manifest(whole)
    assert ours["metrics"]["test"]["accuracy"] == theirs["metrics"]["test"]["accuracy"]


@pytest.mark.slow
def test_export_killed_at_random_moments_leaves_whole_files_and_works_again(run):
    moments = random.Random(7)
    place = run.parent.parent
    command = [*TLKIT, "export", "--to", "tflite", "--precision", "int8", "--calibration", "20"]
    hidden, killed = run.parent / HIDDEN, 0
    while killed < 12:
        for left in hidden.glob(".model*"):
            left.unlink()
        process = begin(command, place)
        wait_for(lambda: any(hidden.glob(".model.int8*")), process)  # the first thing that an export makes
        time.sleep(moments.uniform(0.0, 2.5))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        check_whole(run)
        manifest = read_manifest(run)
        assert [entry["path"] for entry in manifest["artifacts"]] in ([], ["artifacts/model.int8.tflite"])
    process = begin(command, place)
    assert process.wait(timeout=300) == 0, told(place)
    (entry,) = read_manifest(run)["artifacts"]
    assert entry["parity"]["top1_agreement"] >= 0.97
    assert sorted(os.listdir(run / "artifacts")) == ["model.int8.tflite", "model.int8.tflite.json"]


def test_ctrl_c_stops_after_the_batch_with_a_usable_run(place):
    command = [*TLKIT, *"finetune --base lenet5 --data photos --epochs 5000 --patience 0 --name run".split()]
    process = begin(command, place)
    folder = place / "runs" / "run"
    wait_for((folder / "run.json").exists, process)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    err = told(place)
    assert process.returncode == 130, err
    assert "Stopping after this batch, then evaluating; Ctrl-C again stops at once" in err
    assert "Stopped early. Go on with: tlkit finetune --resume --name run" in err
    assert "Traceback" not in err
    check_whole(folder)
    manifest = read_manifest(folder)
    assert manifest["status"] == "complete"
    assert manifest["schedule"]["interrupted"]
    assert 0 < manifest["schedule"]["epochs_run"] < 5000
    photo = next((place / "photos" / "bees").iterdir())
    done = subprocess.run([*TLKIT, "predict", photo, "--top", "1"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = begin([*TLKIT, "finetune", "--resume"], place)
    state = folder / "checkpoints" / "state.npz"
    before = state.stat().st_mtime_ns
    wait_for(lambda: state.stat().st_mtime_ns != before, again)
    time.sleep(3)
    again.send_signal(signal.SIGINT)
    again.wait(timeout=60)
    assert again.returncode == 130
    assert read_manifest(folder)["schedule"]["epochs_run"] > manifest["schedule"]["epochs_run"]


def test_a_second_ctrl_c_stops_at_once_and_can_be_gone_on_with(place):
    command = [*TLKIT, *"finetune --base lenet5 --data photos --epochs 5000 --patience 0 --name run".split()]
    process = begin(command, place)
    folder = place / "runs" / "run"
    wait_for((folder / "checkpoints").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    err = told(place)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in err
    check_whole(folder)
    assert read_manifest(folder)["status"] == "running"
    assert (folder / "checkpoints" / "state.npz").exists()
