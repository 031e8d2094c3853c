"""`--from`: a run that goes on with more photos and more classes."""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from tlkit.cli.main import main
from tlkit.errors import DataError, OptionError, RunError, UnknownNameError
from tlkit.manifest import NAME, read_manifest, sha256_of, write_manifest
from tlkit.progress import Progress
from tlkit.transfer.finetune import finetune, resume_or_begin
from tlkit.transfer.grow import strategy_for
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.start import grown_model

from ..conftest import with_several_labels


class Said(Progress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    warn = say


def crosses(root, count, first=0):
    """Photos of an 11th sign: a cross, grey on black, as the digits are."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        random = np.random.default_rng(i)
        values = random.integers(0, 30, (32, 32))
        for j in range(4, 28):
            for k in (j, 31 - j):
                values[j, k : k + 3] = random.integers(170, 256)
        Image.fromarray(values.astype(np.uint8)).save(root / f"{i}.png")


def change(run, **values):
    manifest = json.loads((run / NAME).read_text())
    (run / NAME).write_text(json.dumps({**manifest, **values}))


@pytest.fixture(scope="module")
def grown_run(run_folder, tmp_path_factory):
    """The run on digits, grown by a class of crosses; what was said."""
    place = tmp_path_factory.mktemp("grown")
    shutil.copytree(run_folder, place / "runs/lenet")
    crosses(place / "more/cross", 60)
    said = Said()
    options = FinetuneOptions(parent="lenet", data=place / "more", epochs=4, runs=place / "runs", name="grown")
    return finetune(options, said), said.lines


def test_a_new_class_is_learned_and_the_old_ones_keep_their_order(grown_run, run_folder):
    folder, _ = grown_run
    manifest, parent = read_manifest(folder), read_manifest(run_folder)
    assert manifest["classes"] == [*parent["classes"], "cross"]
    assert (folder / "labels.txt").read_text().splitlines() == manifest["classes"]
    test = manifest["metrics"]["test"]
    assert test["per_class"][-1]["recall"] > 0.8
    assert test["accuracy"] > 0.9
    assert manifest["freeze"]["strategy"] == "head-then:none"
    assert manifest["base"] == "lenet5" and manifest["head"] == parent["head"]
    assert manifest["preprocess"] == parent["preprocess"]
    assert keras.saving.load_model(folder / "model.keras", compile=False).output.shape == (None, 11)


def test_nothing_that_was_held_out_is_trained_on(grown_run, run_folder):
    split, before = read_manifest(grown_run[0])["split"], read_manifest(run_folder)["split"]
    for name in ("train", "val", "test"):
        had, has = ({photo["sha256"] for photo in one[name]} for one in (before, split))
        assert had < has
        assert len(has - had) == {"train": 42, "val": 9, "test": 9}[name]


def test_the_manifest_names_the_parent_and_what_was_forgotten(grown_run, run_folder, capsys):
    folder, lines = grown_run
    manifest = read_manifest(folder)
    parent = manifest["parent"]
    assert (parent["run"], parent["new_classes"], parent["added"]) == ("lenet", ["cross"], 60)
    assert parent["model_sha256"] == sha256_of(folder.parent / "lenet/model.keras") == manifest["weights"]["sha256"]
    old, before = manifest["metrics"]["test"]["old_classes"], read_manifest(run_folder)["metrics"]["test"]
    assert old["images"] == before["images"]
    assert old["before"] == pytest.approx(before["accuracy"])
    assert (old["accuracy"] - old["before"]) * old["images"] == pytest.approx(old["learned"] - old["forgotten"])
    text = f"{old['accuracy']:.1%} of {old['images']} right, {old['before']:.1%} before"
    assert any(line.startswith(f"Old classes, on the test photos of lenet: {text}") for line in lines)
    assert "New classes, behind the old ones: cross" in lines
    assert main(["runs", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert parent["folder"] in shown and parent["model_sha256"] in shown
    assert "60 photos, new classes: cross" in shown and text in shown
    assert main(["runs", "--runs", str(folder.parent)]) == 0
    assert "digits+more" in capsys.readouterr().out


@pytest.mark.slow
def test_a_grown_run_is_evaluated_exported_and_grown_again(grown_run, tmp_path):
    import tlkit

    run = tlkit.Run(shutil.copytree(grown_run[0], tmp_path / "runs/grown"))
    manifest = run.manifest
    assert run.evaluate().accuracy == pytest.approx(manifest["metrics"]["test"]["accuracy"])
    assert run.export("tflite")["parity"]["top1_agreement"] == 1.0
    crosses(tmp_path / "still_more/cross", 20, first=100)
    again = tlkit.finetune(tmp_path / "still_more", parent=run, epochs=1, freeze="all-but-head", runs=tmp_path / "runs")
    assert again.manifest["classes"] == manifest["classes"]
    assert again.manifest["parent"]["new_classes"] == []
    assert again.manifest["data"]["name"] == "digits+more+still_more"
    assert {p["sha256"] for p in manifest["split"]["test"]} < {p["sha256"] for p in again.manifest["split"]["test"]}


def test_the_start_is_the_parents_model_and_a_new_class_neutral(run):
    model, weights = grown_model(run / "model.keras", old=10, classes=12)
    x = np.random.default_rng(0).uniform(0, 255, (4, *model.input.shape[1:])).astype(np.float32)
    logits = keras.ops.convert_to_numpy(model(x))
    before = keras.saving.load_model(run / "model.keras", compile=False)
    old = np.exp(logits[:, :10]) / np.exp(logits[:, :10]).sum(axis=1, keepdims=True)
    assert np.allclose(old, keras.ops.convert_to_numpy(before(x)), atol=1e-5)
    bias = model.get_layer("head_logits").get_weights()[1]
    assert np.allclose(logits[:, 10:], bias[:10].mean(), atol=1e-6)
    assert weights["sha256"] == sha256_of(run / "model.keras")


@pytest.mark.parametrize(
    ("strategy", "same", "new"),
    [
        ("all-but-head", "all-but-head", "all-but-head"),
        ("none", "none", "head-then:none"),
        ("last:2", "last:2", "head-then:last:2"),
        ("up-to:stage2", "up-to:stage2", "head-then:up-to:stage2"),
        ("gradual:2", "gradual:2", "gradual:2"),
        ("head-then:last:2", "last:2", "head-then:last:2"),
    ],
)
def test_the_strategy_is_the_parents_behind_a_head_where_that_is_new(strategy, same, new):
    assert strategy_for({"strategy": strategy, "chosen": None}, new_classes=False) == same
    assert strategy_for({"strategy": strategy, "chosen": None}, new_classes=True) == new
    assert strategy_for({"strategy": "auto", "chosen": {"strategy": strategy}}, new_classes=True) == new


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("base", "vgg16", "--base vgg16 contradicts --from: lenet has --base lenet5"),
        ("head", "gap", "--head gap contradicts --from: lenet has --head original"),
        ("input_size", 64, "--input-size 64 contradicts --from: lenet has --input-size 28"),
        ("width", 0.5, "--width 0.5 contradicts --from: lenet was begun without --width"),
        ("weights", "imagenet", "--weights imagenet contradicts --from: lenet was begun without --weights"),
        ("dropout", 0.5, "--dropout 0.5 contradicts --from: lenet was begun without --dropout"),
        ("base_input", "0..1", "--base-input 0..1 contradicts --from"),
        ("head_width", 64, "--head-width 64 contradicts --from: lenet was begun without --head-width"),
        ("decode", "scaled", "--decode scaled contradicts --from: lenet has --decode full"),
    ],
)
def test_what_contradicts_the_parent_is_refused(run, make_folder, option, value, message):
    with pytest.raises(OptionError, match=message):
        finetune(FinetuneOptions(parent=run, data=make_folder(each=4), **{option: value}))


def test_what_agrees_with_the_parent_is_not_refused(run, tmp_path):
    from tlkit.transfer.grow import inherit

    options = inherit(FinetuneOptions(parent=run, data=tmp_path, base="lenet5", input_size=28, freeze="last:1"))
    assert (options.base, options.head, options.freeze) == ("lenet5", "original", "last:1")


def test_the_hidden_layer_and_the_decoding_are_the_parents(run, tmp_path):
    from tlkit.transfer.grow import inherit

    manifest = read_manifest(run)
    write_manifest(
        run,
        {
            **manifest,
            "options": {**manifest["options"], "head_width": 64},
            "preprocess": {**manifest["preprocess"], "decode": "scaled"},
        },
    )
    for given in ({}, {"head_width": 64, "decode": "scaled"}):
        options = inherit(FinetuneOptions(parent=run, data=tmp_path, **given))
        assert (options.head_width, options.decode) == (64, "scaled")
    with pytest.raises(OptionError, match="--head-width 32 contradicts --from: lenet has --head-width 64"):
        inherit(FinetuneOptions(parent=run, data=tmp_path, head_width=32))


def test_more_photos_that_a_table_lists_are_refused(run, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="labels.csv is a file, and --from takes more photos from a folder alone. Give"):
        finetune(FinetuneOptions(parent=run, data=tmp_path / "labels.csv"))


def test_a_plan_shows_what_growing_would_do(run, tmp_path, capsys):
    crosses(tmp_path / "more/cross", 12)
    given = ["finetune", "--from", str(run), "--runs", str(tmp_path / "none"), "--data", str(tmp_path / "more")]
    assert main([*given, "--plan", "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    assert plan["strategy"] == "head-then:none"
    parent = keras.saving.load_model(run / "model.keras", compile=False)
    new_class = parent.get_layer("head_logits").kernel.shape[0] + 1
    assert sum(stage["parameters"] for stage in plan["stages"]) == parent.count_params() + new_class
    assert not (tmp_path / "none").exists()


def test_a_parent_that_can_not_grow_is_refused(run, make_folder, tmp_path):
    more = make_folder(each=4)

    def grow(**values):
        return finetune(FinetuneOptions(parent="lenet", data=more, runs=run.parent, **values))

    with pytest.raises(RunError, match="There is no run 'lenett', here or in .*Did you mean lenet"):
        finetune(FinetuneOptions(parent="lenett", data=more, runs=run.parent))
    with pytest.raises(OptionError, match="--from needs more photos. Name their folder with --data MORE"):
        finetune(FinetuneOptions(parent=run))
    with pytest.raises(OptionError, match="--classes 4 was given, but with .*photos there are 13: 0, 1"):
        grow(classes=4)
    with pytest.raises(UnknownNameError, match="There is no stage 'stage9' to freeze up to"):
        grow(freeze="up-to:stage9")
    manifest = read_manifest(run)
    for values, message in (
        ({"status": "running"}, "lenet is not complete .*its status: running.*--resume --name lenet"),
        ({"schema": 2}, "was written by a newer tlkit .schema 2"),
        ({"options": {}}, r"made by another version of tlkit \(0.1.0"),
        ({"stages": ["stem"]}, "in which lenet5 has other stages"),
        (with_several_labels(manifest), "can't grow: its photos have several labels each"),
        ({"compression": {"method": "prune"}}, "can't grow: its model is compressed"),
        ({"data": {**manifest["data"], "kind": "arrays"}}, "can't grow: it was not trained on a folder of photos"),
    ):
        change(run, **values)
        with pytest.raises(RunError, match=message):
            grow()
        write_manifest(run, manifest)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(run / "model.keras")
    with pytest.raises(RunError, match="has no layer head_logits, so it is not the model of a run"):
        grow()
    (run / "model.keras").write_bytes(b"nothing")
    with pytest.raises(RunError, match="model.keras can't be loaded"):
        grow()
    (run / "model.keras").unlink()
    with pytest.raises(RunError, match="model.keras is missing. Restore it"):
        grow()
    assert [path.name for path in run.parent.iterdir() if not path.name.startswith(".")] == ["lenet"]


def test_the_command_line_takes_it(run, make_folder, tmp_path, capsys):
    given = ["--from", "lenet", "--runs", str(run.parent), "--data", str(make_folder(each=4))]
    assert main(["finetune", *given, "--base", "vgg16"]) == 2
    assert "--base vgg16 contradicts --from: lenet has --base lenet5" in capsys.readouterr().err
    assert main(["finetune", *given, "--parent-data", str(tmp_path / "gone")]) == 1
    assert "Give --parent-data the folder in which the run's photos are now" in capsys.readouterr().err


def test_a_model_of_other_classes_is_refused(run):
    with pytest.raises(RunError, match="is not the model of this run: it knows 10 classes, run.json 9"):
        grown_model(run / "model.keras", old=9, classes=12)


def test_without_a_base_or_a_run_nothing_begins(tmp_path, capsys):
    with pytest.raises(OptionError, match="No base was given"):
        finetune(FinetuneOptions())
    with pytest.raises(OptionError, match="--parent-data says where the photos of the run in --from are. Add --from"):
        finetune(FinetuneOptions(base="lenet5", parent_data=tmp_path))
    assert main(["finetune", "--data", str(tmp_path)]) == 2
    assert "Missing option '--base'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_grown_run_is_gone_on_with(run, tmp_path, capsys):
    crosses(tmp_path / "more/cross", 12)
    runs, more = run.parent, str(tmp_path / "more")
    values = {"parent": "lenet", "data": more, "epochs": 2, "freeze": "all-but-head", "name": "grown", "runs": runs}
    folder = resume_or_begin(values, values, Progress())  # there is nothing to go on with: it begins
    assert read_manifest(folder)["parent"]["run"] == "lenet"
    whole = (folder / "model.keras").read_bytes()
    change(folder, status="running")  # as if it had been killed before its first checkpoint
    for name in ("model.keras", "predictions.npz"):
        (folder / name).unlink()
    assert resume_or_begin(values, values, Progress()) == folder
    manifest = read_manifest(folder)
    assert manifest["metrics"]["test"]["old_classes"]["images"] == read_manifest(run)["metrics"]["test"]["images"]
    first, second = (
        keras.saving.load_model(path, compile=False).get_weights()
        for path in (_write(tmp_path / "first.keras", whole), folder / "model.keras")
    )
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(first, second, strict=True))

    change(folder, status="running")
    with pytest.raises(OptionError, match="was begun with --from .*lenet, not .*Leave --from out to go on with it"):
        shutil.copytree(run, tmp_path / "runs/other")
        resume_or_begin({**values, "parent": "other"}, {**values, "parent": "other"}, Progress())
    keras.saving.load_model(run / "model.keras", compile=False).save(tmp_path / "again.keras")
    shutil.copy(tmp_path / "again.keras", run / "model.keras")
    with pytest.raises(DataError.__base__, match="The weights that .*grown was begun with have changed: .*lenet"):
        resume_or_begin({"name": "grown", "runs": runs}, {}, Progress())


def _write(path, content):
    path.write_bytes(content)
    return path
