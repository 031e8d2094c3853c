"""`tlkit doctor`, in the real environment."""

import json
import os
import subprocess
import sys

import pytest

from tlkit import conflicts, doctor
from tlkit.cli.main import main
from tlkit.doctor import Finding

CODE = (
    "import sys\nfrom tlkit.cli.main import main\n"
    "code = main(sys.argv[1:])\n"
    "heavy = sorted({'tensorflow', 'keras', 'numpy', 'sklearn'} & set(sys.modules))\n"
    "print(code, heavy, file=sys.stderr)"
)


def test_the_real_environment_is_tried_and_the_parent_stays_light(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, "doctor", "--json"], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    found = json.loads(done.stdout)
    by_name = {one["name"]: one for one in found["capabilities"]}
    assert list(by_name) == ["train", "export", "verify", "compress", "onnx", "tensorrt", "runs", "cache"]
    for name in ("train", "export", "verify", "runs", "cache"):
        assert by_name[name]["status"] == "ok", by_name[name]
    assert by_name["train"]["detail"].startswith("tensorflow 2.")
    assert all(one["status"] == "ok" or one["remedy"] for one in by_name.values())
    code = 0 if found["healthy"] else 1
    assert found["healthy"] == (not found["conflicts"])
    assert done.stderr.splitlines()[-1] == f"{code} []"
    assert "Trying: 6 capabilities in" in done.stderr


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """No child processes: every capability is ok."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        doctor, "this_environment", lambda: conflicts.Environment(versions={}, variables={}, python=(3, 11))
    )

    def answers(**by_name):
        def tried(capability):
            status, detail, remedy = by_name.get(capability.name, ("ok", "fine", ""))
            about = {"name": capability.name, "title": capability.title, "required": capability.required}
            return Finding(**about, status=status, detail=detail, remedy=remedy)

        monkeypatch.setattr(doctor, "try_capability", tried)

    return answers


def test_a_healthy_machine_is_exit_code_0(quick, capsys):
    quick(onnx=("not installed", "no onnx", "pip install 'tlkit[onnx]'"))
    assert main(["doctor"]) == 0
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    assert ["train", "ok", "fine"] in lines
    assert ["ONNX", "not", "installed", "no", "onnx"] in lines
    assert ["->", "pip", "install", "'tlkit[onnx]'"] in lines
    assert captured.out.endswith("This machine can train, export and verify.\n")


def test_a_broken_one_is_exit_code_1(quick, capsys):
    quick(verify=("broken", "ImportError: no symbol", "pip install --force-reinstall ai-edge-litert"))
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "ImportError: no symbol" in captured.out
    assert "can train, export and verify" not in captured.out


def test_a_conflict_is_exit_code_1_and_printed_with_its_remedy(quick, capsys, monkeypatch):
    quick(train=("broken", "No module named 'jax'", "pip install keras"))
    env = conflicts.Environment(versions={}, variables={"KERAS_BACKEND": "jax"}, python=(3, 11))
    monkeypatch.setattr(doctor, "this_environment", lambda: env)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "-> settle the conflicts first; if it is still broken: pip install keras" in out
    assert "Conflict: KERAS_BACKEND=jax\n  tlkit exports on TensorFlow" in out
    assert out.endswith("  -> unset KERAS_BACKEND\n")
