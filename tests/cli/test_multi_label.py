"""Commands on a classifier of any number of labels, as a user types them."""

import csv
import io
import json
from pathlib import Path

import pytest

from tlkit.cli.main import main
from tlkit.manifest import read_manifest


@pytest.fixture
def photos(multi_label_folder):
    """The path of a photo for each number of labels, by number."""
    manifest = read_manifest(multi_label_folder)
    root = Path(manifest["data"]["root"])
    entries = [entry for part in ("train", "val", "test") for entry in manifest["split"][part]]
    return {count: str(root / next(e["path"] for e in entries if len(e["labels"]) == count)) for count in (0, 1, 2)}


def test_a_photo_is_given_every_label_above_its_threshold(multi_label_run, photos, capsys):
    assert main(["predict", "--model", str(multi_label_run), *photos.values()]) == 0
    text = capsys.readouterr().out
    none, one, two = (text[text.index(path) :] for path in photos.values())
    assert none.startswith(f"{photos[0]}: nothing; ") and " is the most probable, with " in none
    assert [line.startswith("  ") for line in one.splitlines()[:3]] == [False, True, False]
    assert [line.startswith("  ") for line in two.splitlines()] == [False, True, True]


def test_csv_and_json_tell_the_labels(multi_label_run, photos, capsys):
    assert main(["predict", "--csv", "--model", str(multi_label_run), *photos.values()]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [len(row["labels"].split("|")) if row["labels"] else 0 for row in rows] == [0, 1, 2]
    assert all(row["class_3"] and not row["error"] for row in rows)
    assert main(["predict", "--json", "--top", "1", "--model", str(multi_label_run), photos[2]]) == 0
    (found,) = json.loads(capsys.readouterr().out)["predictions"]
    assert sorted(one["class"] for one in found["labels"]) == sorted(rows[2]["labels"].split("|"))
    assert len(found["top"]) == 1 and "class" not in found


def test_a_run_and_its_artifact_are_shown_with_map_and_thresholds(multi_label_run, capsys):
    runs = ["--runs", str(multi_label_run.parent)]
    assert main(["export", "--to", "tflite", *runs]) == 0
    text = capsys.readouterr().out
    assert "Agrees with Keras    on 100.0% of the decisions" in text and "\nmAP  " in text
    assert main(["runs", "show", *runs]) == 0
    text = capsys.readouterr().out
    assert "Figures, test        mAP " in text and "Thresholds           ants 0." in text
    assert "agrees with Keras on 100.0% of the decisions for " in text
    assert main(["runs", *runs]) == 0
    assert "mAP " in capsys.readouterr().out


def test_an_evaluation_prints_each_class(multi_label_run, capsys):
    assert main(["evaluate", "--runs", str(multi_label_run.parent), "--shift", "blur"]) == 0
    text = capsys.readouterr().out
    for part in ("mAP  ", "Right decisions  ", "All labels right  ", "average precision  threshold", "shift  strength"):
        assert part in text
    assert all(f"\n{name} " in text for name in ("ants", "bees", "wasps"))


def test_a_training_prints_map(multi_label_folder, tmp_path, capsys):
    given = read_manifest(multi_label_folder)["options"]
    options = ["--base", given["base"], "--data", given["data"], "--weights", "none", "--freeze", "none"]
    assert main(["finetune", *options, "--multi-label", "--epochs", "1", "--runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "Validation           mAP " in text and "Test                 mAP " in text
    assert "hardest classes  photos  average precision" in text
