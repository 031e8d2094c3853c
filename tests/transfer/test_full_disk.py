"""A disk that becomes full in training: a sentence, whole files, and nothing lost."""

import numpy as np
import pytest

from tlkit.cli.main import main
from tlkit.manifest import read_manifest

COMMAND = ["finetune", "--base", "lenet5", "--weights", "none", "--freeze", "up-to:stage1", "--data", "photos"]
COMMAND += ["--epochs", "2"]


@pytest.fixture
def place(tmp_path, monkeypatch, make_folder):
    make_folder(each=6)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_wherever_the_disk_becomes_full_training_ends_well_or_with_a_sentence(place, full_disk, capsys):
    """A step that needs room fails; once there is room again, --resume ends what had begun."""
    full_disk.becomes_full_at(None)
    assert main([*COMMAND, "--name", "counted", "--seed", "0"]) == 0
    outcomes, steps = [], full_disk.steps
    for number, step in enumerate(np.linspace(1, steps, 14).astype(int)):
        name = f"run{step}"
        capsys.readouterr()
        full_disk.becomes_full_at(int(step))
        code = main([*COMMAND, "--name", name, "--seed", str(number + 1)])
        full_disk.becomes_full_at(None)
        err = capsys.readouterr().err
        assert "Traceback" not in err
        folder = place / "runs" / name
        outcomes.append(code)
        if code == 0:  # what failed was not needed
            assert "can't be written" in err or "goes uncached" in err, err
        else:
            assert code == 1
            assert "No space left on device" in err, err
            assert "Free some space there" in err or "Choose another place: --runs" in err, err
            if (folder / "run.json").exists():
                assert main(["finetune", "--resume", "--name", name]) == 0
        if (folder / "run.json").exists():
            assert read_manifest(folder)["status"] == "complete"
            assert not (folder / "checkpoints").exists()
        assert [path for path in folder.rglob(".*")] == []
    assert outcomes.count(1) > 5, outcomes
