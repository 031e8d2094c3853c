"""What a probe finds, and how its process ends, become findings."""

import json
import subprocess
import sys

import pytest

from tlkit import doctor, probes
from tlkit.conflicts import Conflict
from tlkit.doctor import CAPABILITIES, Capability, Diagnosis, Finding, look_at_folder, run_probe, try_capability

ONE = Capability(name="verify", title="verify TFLite", install="pip install x", repair="pip install --force x")


def python(code):
    return [sys.executable, "-c", code]


def test_every_capability_has_a_probe_and_the_other_way_round():
    assert [capability.name for capability in CAPABILITIES] == list(probes.PROBES)
    assert [capability.name for capability in CAPABILITIES if capability.required] == ["train", "export", "verify"]


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("print('noise'); print('{\"detail\": \"x 1.0\"}')", {"detail": "x 1.0"}),
        ("import os; os.kill(os.getpid(), 4)", {"error": "its process was killed by SIGILL"}),
        ("raise RuntimeError('no such symbol')", {"error": "RuntimeError: no such symbol"}),
        ("raise SystemExit(3)", {"error": "its process ended with exit code 3"}),
        ("print('no JSON')", {"error": "its process ended with exit code 0"}),
    ],
)
def test_however_a_probe_ends_there_is_an_answer(code, answer):
    assert run_probe(python(code)) == answer


def test_a_probe_that_hangs_is_given_up():
    assert run_probe(python("import time; time.sleep(60)"), patience=0.3) == {"error": "no answer within 0 seconds"}


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        ({"detail": "x 1.0"}, ("ok", "x 1.0", "")),
        ({"missing": "onnx"}, ("not installed", "no onnx", "pip install x")),
        ({"error": "ImportError: y"}, ("broken", "ImportError: y", "pip install --force x")),
    ],
)
def test_an_answer_becomes_a_finding_with_its_remedy(monkeypatch, answer, finding):
    monkeypatch.setattr(doctor, "run_probe", lambda command: answer)
    found = try_capability(ONE)
    assert (found.status, found.detail, found.remedy) == finding


def test_litert_is_really_run():
    found = try_capability(ONE)
    assert found.status == "ok", found
    assert found.detail.endswith("ran a model")


def test_a_probe_says_what_is_missing_and_what_is_broken(monkeypatch, tmp_path):
    def broken():
        raise ImportError("libnvinfer.so.11: cannot open shared object file\nsecond line")

    monkeypatch.setitem(probes.PROBES, "tensorrt", (("no_such_module",), broken))
    assert probes.main("tensorrt") == {"missing": "no_such_module"}
    monkeypatch.setitem(probes.PROBES, "tensorrt", (("json",), broken))
    assert probes.main("tensorrt") == {"error": "ImportError: libnvinfer.so.11: cannot open shared object file"}


def test_a_probe_is_not_misled_by_files_in_the_working_folder(tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('this is not NumPy')")
    command = [sys.executable, "-P", probes.__file__, "verify"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "detail" in json.loads(done.stdout)


def test_the_gpus_are_those_that_the_driver_lists(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200'\necho 'NVIDIA L4'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert probes.gpus() == ["NVIDIA H200", "NVIDIA L4"]
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert probes.gpus() == []
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probes.gpus() == []


def test_a_folder_is_ok_when_it_or_the_one_around_it_can_be_written(tmp_path):
    found = look_at_folder("runs", tmp_path / "deep" / "runs", remedy="--runs")
    assert (found.title, found.status, found.remedy) == ("runs folder", "ok", "")
    assert found.detail.endswith("GB free")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cant_be_written_or_is_full_is_broken(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    found = look_at_folder("runs", tmp_path / "file", remedy="--runs")
    assert (found.status, found.remedy) == ("broken", "--runs")
    assert "can't be written" in found.detail
    monkeypatch.setattr(doctor, "_LEAST_FREE", 10**18)
    found = look_at_folder("cache", tmp_path, remedy="set TLKIT_CACHE")
    assert found.status == "broken"
    assert found.remedy == "free some of the disk (tlkit runs, tlkit cache), or set TLKIT_CACHE"


def finding(status, required):
    return Finding(name="x", title="x", status=status, detail="", required=required)


def test_a_machine_is_healthy_when_what_is_required_works_and_nothing_conflicts():
    fine, optional = finding("ok", True), finding("not installed", False)
    conflict = Conflict(found="a", problem="b", remedy="c")
    assert Diagnosis(findings=[fine, optional], conflicts=[]).healthy
    assert not Diagnosis(findings=[fine], conflicts=[conflict]).healthy
    assert not Diagnosis(findings=[fine, finding("broken", True)], conflicts=[]).healthy
