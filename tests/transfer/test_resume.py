"""What is interrupted goes on, and ends where it would have ended."""

import os
import signal

import keras
import numpy as np
import pytest

from tlkit.data.discover import discover
from tlkit.errors import DataError, DivergedError, OptionError, RunError, WeightsError
from tlkit.lock import exclusive, is_held
from tlkit.manifest import HIDDEN, read_manifest, write_manifest
from tlkit.models import registry
from tlkit.progress import Progress
from tlkit.transfer import checkpoint as checkpoints
from tlkit.transfer import loop
from tlkit.transfer.finetune import finetune, resume, resume_or_begin
from tlkit.transfer.options import FinetuneOptions

# Random, partly frozen: the smallest network that takes every road.
FROZEN = {"base": "lenet5", "weights": "none", "freeze": "up-to:stage1"}


class Killed(BaseException):
    """Stands for SIGKILL where a process of its own would take too long: nothing of ours catches it."""


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint_after_every_step(monkeypatch):
    monkeypatch.setattr(checkpoints, "_EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "_SHARE", 0.0)


def options(tmp_path, data, **values):
    defaults = {"epochs": 4, "batch_size": 8, "runs": tmp_path / "runs", "patience": 0, "seed": 1}
    return FinetuneOptions(**{**defaults, **FROZEN, "data": data, **values})


def head_of(folder):
    return keras.saving.load_model(folder / "model.keras", compile=False).get_layer("head_logits").get_weights()


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


WHOLE = [
    "confusion_test.csv",
    "confusion_val.csv",
    "history.csv",
    "labels.txt",
    "model.keras",
    "predictions.npz",
    "run.json",
]


def dying(monkeypatch, at):
    """Lets the `at`-th rename kill the process, just before it or (with a half) just after it."""
    real, count = os.replace, [0]

    def replace(source, target):
        count[0] += 1
        if count[0] == at:
            raise Killed
        real(source, target)
        if count[0] + 0.5 == at:
            raise Killed

    monkeypatch.setattr(os, "replace", replace)
    return count


def keep(monkeypatch):
    """A killed process tidies nothing."""
    monkeypatch.setattr("shutil.rmtree", lambda *a, **k: None)


@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, False])
def test_a_run_killed_at_any_rename_goes_on_to_the_same_head(
    tmp_path, make_folder, own_cache, monkeypatch, cached, checkpoint_after_every_step
):
    """Every change of the run folder and of the cache is a rename; between two of them nothing can be seen."""
    data = make_folder(each=8)
    values = {"cache": cached, "epochs": 2}
    whole = finetune(options(tmp_path, data, name="whole", **values))
    with monkeypatch.context() as patched:
        count = dying(patched, at=10**9)
        finetune(options(tmp_path, data, name="counted", seed=2, **values))
    moments = [at + half for at in range(1, count[0] + 1) for half in (0, 0.5)]
    for at in moments[:: 1 if cached else 3]:
        name = f"killed-{at}"
        with monkeypatch.context() as patched:
            patched.setenv("TLKIT_CACHE", str(tmp_path / f"cache-{at}"))
            dying(patched, at)
            keep(patched)
            with pytest.raises(Killed):
                finetune(options(tmp_path, data, name=name, **values))
        folder = tmp_path / "runs" / name
        assert not any(path.startswith(".") for path in files_of(folder))
        if not (folder / "run.json").exists():
            continue
        if read_manifest(folder)["status"] == "running":
            assert resume(name, tmp_path / "runs", {}) == folder
        assert read_manifest(folder)["status"] == "complete"
        assert [path for path in files_of(folder) if not path.startswith("checkpoints/")] == WHOLE
        assert max(np.abs(a - b).max() for a, b in zip(head_of(folder), head_of(whole), strict=True)) < 1e-6
        assert read_manifest(folder)["metrics"] == read_manifest(whole)["metrics"]


def interrupted(tmp_path, data, monkeypatch, at=5, error=None, **values):
    """A run whose training was ended in its `at`-th step."""
    count = [0]
    real = loop.Training._save

    def save(self, progress, *, force):
        real(self, progress, force=force)
        count[0] += 1
        if count[0] == at:
            raise error or Killed

    with monkeypatch.context() as patched:
        keep(patched)
        patched.setattr(loop.Training, "_save", save)
        with pytest.raises(type(error) if error else Killed):
            finetune(options(tmp_path, data, **values))
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.name != HIDDEN)
    return folder


def test_augmented_uncached_training_goes_on_with_the_same_views(
    tmp_path, make_folder, own_cache, monkeypatch, checkpoint_after_every_step
):
    data = make_folder(each=8)
    values = {"freeze": "none", "augment": "light", "epochs": 3}
    whole = finetune(options(tmp_path / "whole", data, **values))
    folder = interrupted(tmp_path, data, monkeypatch, at=4, **values)
    resume(None, tmp_path / "runs", {})
    for a, b in zip(head_of(folder), head_of(whole), strict=True):
        assert np.abs(a - b).max() < 1e-5


def test_a_run_that_goes_on_says_so_and_keeps_its_record(
    tmp_path, make_folder, own_cache, monkeypatch, checkpoint_after_every_step
):
    told = []

    class Told(Progress):
        def say(self, text):
            told.append(text)

    folder = interrupted(tmp_path, make_folder(each=8), monkeypatch)
    before = read_manifest(folder)
    assert before["status"] == "running"
    assert resume(None, tmp_path / "runs", {}, Told()) == folder
    after = read_manifest(folder)
    assert told[0] == f"Going on with {folder}"
    assert after["status"] == "complete"
    assert after["schedule"]["interrupted"] is False
    for part in ("created", "command", "options", "split", "classes", "data"):
        assert after[part] == before[part]
    assert not (folder / "checkpoints").exists()


def test_moved_photos_are_found_again(tmp_path, make_folder, own_cache, monkeypatch, checkpoint_after_every_step):
    data = make_folder(each=8)
    folder = interrupted(tmp_path, data, monkeypatch)
    moved = data.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"photos of this run are not in .* say where they are now: --data NEWROOT"):
        resume(None, tmp_path / "runs", {})
    assert resume(None, tmp_path / "runs", {}, data=str(moved)) == folder
    assert read_manifest(folder)["data"]["root"] == str(moved)


def test_changed_photos_are_refused(tmp_path, make_folder, own_cache, monkeypatch, checkpoint_after_every_step):
    data = make_folder(each=8)
    interrupted(tmp_path, data, monkeypatch)
    photo = data / discover(data).photos["all"][0].path
    photo.write_bytes(photo.read_bytes() + b"changed")
    with pytest.raises(DataError, match="1 of 24 photos of this run are not in"):
        resume(None, tmp_path / "runs", {})


def test_new_photos_are_no_part_of_a_run_that_goes_on(
    tmp_path, make_folder, own_cache, monkeypatch, checkpoint_after_every_step
):
    folder = interrupted(tmp_path, make_folder(each=8), monkeypatch)
    make_folder(each=3, first=50)
    resume(None, tmp_path / "runs", {})
    assert read_manifest(folder)["data"]["images"] == 24


def test_changed_weights_are_refused(tmp_path, make_folder, own_cache, monkeypatch, checkpoint_after_every_step):
    keras.utils.set_random_seed(0)
    path = tmp_path / "some.weights.h5"
    theirs = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3))
    theirs.save_weights(path)
    weights = {"base": "mobilenet_v2", "freeze": "all-but-head", "input_size": 32, "weights": str(path)}
    interrupted(tmp_path, make_folder(each=8), monkeypatch, **weights)
    theirs.layers[1].set_weights([w + 1 for w in theirs.layers[1].get_weights()])
    theirs.save_weights(path)
    with pytest.raises(WeightsError, match="was begun with have changed: .*some.weights.h5. Put that file back"):
        resume(None, tmp_path / "runs", {})


def test_options_that_disagree_are_refused(tmp_path, make_folder, own_cache, monkeypatch):
    folder = interrupted(tmp_path, make_folder(each=8), monkeypatch, at=1)
    with pytest.raises(OptionError, match=r"was begun with --batch-size 8, not 16. Leave --batch-size out to go on"):
        resume(None, tmp_path / "runs", {"batch_size": 16})
    assert read_manifest(folder)["status"] == "running"


def test_a_complete_run_is_left_as_it_is(run):
    before = (run / "run.json").read_bytes()
    assert resume(run.name, run.parent, {}) == run
    assert (run / "run.json").read_bytes() == before


def test_without_an_unfinished_run_the_message_says_how_to_begin(tmp_path, run):
    for runs in (tmp_path / "nowhere", run.parent):
        with pytest.raises(RunError, match="There is no unfinished run in .* Begin one with: tlkit finetune --base"):
            resume(None, runs, {})
    with pytest.raises(RunError, match="There is no run 'lenat' .* to go on with. Did you mean lenet"):
        resume("lenat", run.parent, {})


def test_a_run_of_another_version_is_refused(tmp_path, run):
    manifest = read_manifest(run)
    for change in ({"options": {}}, {"options": {**manifest["options"], "new_one": 1}}):
        write_manifest(run, {**manifest, "status": "running", **change})
        with pytest.raises(RunError, match="was begun by another version of tlkit"):
            resume(run.name, run.parent, {})


def test_the_same_command_can_be_repeated_until_it_is_done(tmp_path, make_folder, own_cache):
    data = make_folder(each=8)
    values = vars(options(tmp_path, str(data), epochs=1))
    given = {"base": "lenet5", "data": str(data), "epochs": 1, "runs": tmp_path / "runs"}
    told = []

    class Told(Progress):
        def say(self, text):
            told.append(text)

    folder = resume_or_begin(values, given, Told())
    assert told[0] == "There is no unfinished run, so a new one begins"
    write_manifest(folder, {**read_manifest(folder), "status": "running"})
    assert resume_or_begin(values, given, Told()) == folder
    assert f"Going on with {folder}" in told


def test_a_run_that_another_process_trains_is_left_alone(run):
    write_manifest(run, {**read_manifest(run), "status": "running"})
    with exclusive(run):
        assert is_held(run)
        with pytest.raises(RunError, match="is in use by another process. Wait until it is done, or stop it"):
            resume(run.name, run.parent, {})
        with pytest.raises(RunError, match="There is no unfinished run"):
            resume(None, run.parent, {})
    assert not is_held(run)


def test_a_photo_that_vanishes_in_training_costs_nothing_that_was_trained(
    tmp_path, make_folder, own_cache, monkeypatch, checkpoint_after_every_step
):
    error = DataError("gone")
    told = []
    monkeypatch.setattr(Progress, "say", lambda self, text: told.append(text))
    folder = interrupted(tmp_path, make_folder(each=8), monkeypatch, error=error)
    assert any("What was trained is kept. Go on with: tlkit finetune --resume --name" in text for text in told)
    assert (folder / "checkpoints" / "state.npz").exists()
    assert resume(None, tmp_path / "runs", {}) == folder


def test_a_kill_before_the_record_leaves_a_name_that_can_be_used_again(tmp_path, make_folder, own_cache):
    data = make_folder(each=8)
    (tmp_path / "runs" / "early").mkdir(parents=True)
    with pytest.raises(RunError, match="There is no run 'early'"):
        resume("early", tmp_path / "runs", {})
    values = vars(options(tmp_path, str(data), epochs=1, name="early"))
    folder = resume_or_begin(values, {"base": "lenet5", "name": "early"}, Progress())
    assert read_manifest(folder)["status"] == "complete"


def stopped(tmp_path, data, monkeypatch, **values):
    """A complete run that Ctrl-C stopped in its sixth step."""
    count = [0]
    real = loop.Training._save

    def press(self, progress, *, force):
        count[0] += 1
        if count[0] == 5:
            signal.raise_signal(signal.SIGINT)
        real(self, progress, force=force)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Training, "_save", press)
        folder = finetune(options(tmp_path, data, name="stopped", **values))
    assert read_manifest(folder)["schedule"]["interrupted"]
    return folder


def test_a_stopped_run_stays_usable_until_it_has_another_model(tmp_path, make_folder, own_cache, monkeypatch):
    from tlkit.convert.export import export
    from tlkit.convert.options import ExportOptions

    folder = stopped(tmp_path, make_folder(each=8), monkeypatch)
    export(folder, ExportOptions())
    before = (folder / "model.keras").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(loop.Training, "_end_epoch", lambda self, *args: (_ for _ in ()).throw(Killed()))
        keep(patched)
        with pytest.raises(Killed):
            resume("stopped", tmp_path / "runs", {})
    manifest = read_manifest(folder)
    assert (manifest["status"], len(manifest["artifacts"])) == ("complete", 1)
    assert (folder / "model.keras").read_bytes() == before
    resume("stopped", tmp_path / "runs", {})
    manifest = read_manifest(folder)
    assert (manifest["status"], manifest["artifacts"]) == ("complete", [])
    assert not manifest["schedule"]["interrupted"]
    assert files_of(folder) == WHOLE


def test_a_stopped_run_survives_a_resume_that_diverges(tmp_path, make_folder, own_cache, monkeypatch):
    folder = stopped(tmp_path, make_folder(each=8), monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr("tlkit.metrics.log_loss", lambda *a: float("nan"))
        with pytest.raises(DivergedError):
            resume("stopped", tmp_path / "runs", {})
    assert read_manifest(folder)["status"] == "complete"
    assert (folder / "model.keras").exists()


def test_an_export_of_a_model_that_is_replaced_meanwhile_is_refused(run, monkeypatch):
    from tlkit.convert import export as module
    from tlkit.convert.options import ExportOptions

    real = module._prove

    def prove(*args):
        found = real(*args)
        (run / "model.keras").write_bytes((run / "model.keras").read_bytes() + b"x")
        return found

    monkeypatch.setattr(module, "_prove", prove)
    with pytest.raises(RunError, match="got another model meanwhile. Export again when its training is done"):
        module.export(run, ExportOptions())
    assert not (run / "artifacts").exists()


def test_a_run_on_the_digits_takes_no_other_photos(tmp_path, make_folder, run):
    write_manifest(run, {**read_manifest(run), "status": "running"})
    with pytest.raises(OptionError, match="begun on the embedded digits, not on .*photos. Leave --data out"):
        resume(run.name, run.parent, {}, data=str(make_folder()))


def test_a_run_on_the_digits_goes_on_with_another_cache(tmp_path, run, monkeypatch):
    manifest = read_manifest(run)
    gone = {**manifest["data"], "root": str(tmp_path / "gone")}
    short = {**manifest["options"], "epochs": 1}
    write_manifest(run, {**manifest, "status": "running", "data": gone, "options": short})
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "other"))
    resume(run.name, run.parent, {})
    assert read_manifest(run)["data"]["root"] == str(tmp_path / "other" / "digits-v1")


def test_a_weights_file_is_found_from_another_folder(tmp_path, make_folder, own_cache, monkeypatch):
    path = tmp_path / "w.keras"
    keras.utils.set_random_seed(0)
    registry.build("lenet5", classes=3).save(path)
    monkeypatch.chdir(tmp_path)
    data = make_folder(each=8)
    interrupted(tmp_path, data, monkeypatch, at=1, weights="w.keras", freeze="last:1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = resume(None, tmp_path / "runs", {"weights": "../w.keras"})
    assert read_manifest(folder)["weights"]["source"] == str(path)
