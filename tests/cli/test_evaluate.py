"""`tlkit evaluate` as a user types it, and `Run.evaluate`."""

import json
import shutil

import pytest
from sklearn import metrics as sk

import tlkit
from tlkit.cli.main import main
from tlkit.errors import DataError
from tlkit.manifest import read_manifest


@pytest.fixture
def photos(tmp_path):
    """20 digits of each of 3 classes, in a folder of their own."""
    from tlkit.data.digits import digits_folder

    for name in ("1", "7", "8"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for path in sorted((digits_folder() / name).iterdir())[:20]:
            shutil.copy(path, tmp_path / "photos" / name)
    return tmp_path / "photos"


def evaluated(capsys, *args):
    assert main(["evaluate", "--json", *map(str, args)]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_is_evaluated_on_its_own_test_photos(run, capsys):
    found = evaluated(capsys, run)
    recorded = read_manifest(run)["metrics"]["test"]
    assert found["run"] == str(run)
    assert found["images"] == recorded["images"]
    assert found["accuracy"] == pytest.approx(recorded["accuracy"])
    for one, same in zip(found["per_class"], recorded["per_class"], strict=True):
        assert one == pytest.approx(same)
    assert sum(map(sum, found["confusion"])) == recorded["images"]
    assert (found["trained_on"], found["problems"], found["shifts"]) == (0, [], [])
    assert found["accuracy"] <= found["top5_accuracy"] <= 1
    assert 0 < found["calibration_error"] < 1


def test_a_run_without_test_photos_is_evaluated_on_val(run, capsys):
    manifest = json.loads((run / "run.json").read_text())
    manifest["split"]["test"] = []
    (run / "run.json").write_text(json.dumps(manifest))
    assert main(["evaluate", str(run)]) == 0
    captured = capsys.readouterr()
    assert f"Accuracy             {manifest['metrics']['val']['accuracy']:.1%}" in captured.out
    assert "Evaluating on the 269 val photos of the run; others: --data DIR" in captured.err


def test_an_artifact_is_evaluated_on_any_folder_with_some_of_its_classes(artifact, photos, capsys):
    found = evaluated(capsys, artifact, "--data", photos)
    assert (found["artifact"], found["data"], found["images"]) == (str(artifact), str(photos), 60)
    by_class = {one["class"]: one for one in found["per_class"]}
    assert {name: one["images"] for name, one in by_class.items() if one["images"]} == {"1": 20, "7": 20, "8": 20}
    right = sum(found["confusion"][i][i] for i in range(10))
    assert found["accuracy"] == pytest.approx(right / 60)
    assert by_class["7"]["recall"] == pytest.approx(found["confusion"][7][7] / 20)
    labels = [i for i, row in enumerate(found["confusion"]) for _ in range(sum(row))]
    predictions = [j for row in found["confusion"] for j, count in enumerate(row) for _ in range(count)]
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predictions))


def test_an_artifact_and_its_run_are_equally_good(run, artifact, photos, capsys):
    one, same = (evaluated(capsys, model, "--data", photos) for model in (run, artifact))
    assert one["confusion"] == same["confusion"]
    assert one["calibration_error"] == pytest.approx(same["calibration_error"], abs=1e-4)


def test_photos_that_were_trained_on_are_counted_and_warned_of(run, photos, capsys):
    trained = {photo["sha256"] for photo in read_manifest(run)["split"]["train"]}
    assert main(["evaluate", str(run), "--data", str(photos), "--json"]) == 0
    captured = capsys.readouterr()
    count = json.loads(captured.out)["trained_on"]
    assert 20 < count < 60
    assert len(trained) == 1259
    assert f"Warning: The run was trained on {count} of these 60 photos" in captured.err


def test_the_tables_show_classes_confusion_and_shifts(artifact, photos, capsys):
    args = ["evaluate", str(artifact), "--data", str(photos), "--shift", "brightness, rotation"]
    assert main(args) == 0
    out = capsys.readouterr().out
    assert "Top-5 accuracy" in out
    assert "Calibration error" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["class", "photos", "precision", "recall"] in lines
    assert any(line[-1:] == ["them."] and "more classes have no photo here" in " ".join(line) for line in lines)
    (header,) = [line for line in lines if line[:3] == ["label", "\\", "prediction"]]
    assert {"1", "7", "8"} <= set(header[3:]) < set("0123456789")
    shifts = [line for line in lines if line and line[0] in ("none", "brightness", "rotation")]
    assert [line[1] for line in shifts[1:]] == ["0.25", "0.5", "0.75", "1.5", "2", "5", "15", "30"]
    assert all(line[-1] == "points" for line in shifts[1:])


def test_shifts_are_measured_beside_the_clean_photos_and_repeatable(artifact, photos, capsys):
    args = (artifact, "--data", photos, "--shift", "brightness,blur,rotation,noise,jpeg")
    found = evaluated(capsys, *args)
    assert len(found["shifts"]) == 17
    for one in found["shifts"]:
        assert one["accuracy_change"] == pytest.approx(one["accuracy"] - found["accuracy"])
    worst = {one["strength"]: one["accuracy"] for one in found["shifts"] if one["shift"] == "rotation"}
    assert worst[30.0] < found["accuracy"]
    assert evaluated(capsys, *args) == found


def test_with_many_classes_the_most_frequent_confusions_are_listed(capsys):
    from tlkit.cli.evaluate import _print_confusions
    from tlkit.evaluate import ClassFigures, Evaluation

    confusion = [[0] * 30 for _ in range(30)]
    for i in range(30):
        confusion[i][i], confusion[i][(i + 1) % 30] = 50, i
    names = (ClassFigures(name=f"c{i}", images=50 + i, precision=0.5, recall=0.5) for i in range(30))
    values = {"kind": "run", "model": "", "data": "", "images": 1, "accuracy": 0.5, "top5_accuracy": 1.0}
    rest = {"calibration_error": 0.0, "shifts": (), "trained_on": 0, "problems": ()}
    _print_confusions(Evaluation(classes=tuple(names), confusion=tuple(map(tuple, confusion)), **values, **rest))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[2].split() == ["c29", "c0", "29"]
    assert lines[-1].split() == ["c20", "c21", "20"]


def test_files_that_cant_be_used_are_left_out_and_listed(artifact, photos, capsys):
    (photos / "7" / "bad.png").write_bytes(b"x")
    assert main(["evaluate", str(artifact), "--data", str(photos), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["problems"] == [
        {"path": "7/bad.png", "reason": "not a JPEG, PNG, BMP, GIF or WebP image"}
    ]
    assert "Warning: 7/bad.png is left out: not a JPEG" in captured.err


def test_of_a_layout_with_splits_test_is_evaluated(artifact, photos, tmp_path, capsys):
    for name in ("train", "test"):
        shutil.copytree(photos, tmp_path / "split" / name)
    shutil.rmtree(tmp_path / "split" / "test" / "8")
    assert main(["evaluate", str(artifact), "--data", str(tmp_path / "split")]) == 0
    captured = capsys.readouterr()
    assert f"Photos               40 in {tmp_path / 'split' / 'test'}" in captured.out
    assert "has splits; evaluating" in captured.err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (
            ["--shift", "blurr"],
            2,
            "--shift takes brightness, blur, rotation, noise, jpeg, not 'blurr'. Did you mean blur?",
        ),
        (["--data", "nowhere"], 1, "There is no folder nowhere"),
        ([], 2, "model.tflite does not know its photos. Say on which to evaluate it: --data DIR"),
        (["--data", "odd"], 1, "odd has folders that are no class of the model: seven."),
    ],
)
def test_bad_input_gets_a_sentence_and_an_exit_code(artifact, tmp_path, monkeypatch, args, code, message, capsys):
    (tmp_path / "odd" / "seven").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(artifact), *args]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_run_evaluate_is_the_same_in_python(run, photos):
    loaded = tlkit.load_run(run)
    found = loaded.evaluate(photos, shift=["blur"])
    assert found.images == 60
    assert len(found.shifts) == 3
    assert loaded.evaluate().images == 269
    with pytest.raises(DataError, match="There is no folder nowhere"):
        loaded.evaluate("nowhere")


def test_run_predict_takes_a_threshold(run, photos):
    (found,) = tlkit.load_run(run).predict(next((photos / "7").iterdir()), top=1, threshold=1.0)
    assert (found.label, found.top[0][0]) == ("unknown", "7")
