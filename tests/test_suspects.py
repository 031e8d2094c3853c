"""Labels that a run's model contradicts, and the page that shows them."""

import base64
import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import tlkit.suspects as module
import tlkit.suspects_page as page_module
from tlkit.errors import DataError, RunError
from tlkit.metrics import suspects
from tlkit.progress import Screen
from tlkit.suspects import Suspect, Suspects, find_suspects, found_again, save_csv
from tlkit.suspects_page import save_page

from .conftest import scene, with_several_labels


def swap(run, count, seed=0, split=None):
    """Gives held-out photos other labels and returns their paths."""
    manifest = json.loads((run / "run.json").read_text())
    splits = (split,) if split else ("val", "test")
    entries = [entry for name in splits for entry in manifest["split"][name]]
    random = np.random.default_rng(seed)
    chosen = [entries[i] for i in random.choice(len(entries), count, replace=False)]
    for entry in chosen:
        entry["label"] = (entry["label"] + int(random.integers(1, 10))) % 10
    (run / "run.json").write_text(json.dumps(manifest))
    return {entry["path"] for entry in chosen}


def test_the_clearest_contradiction_comes_first():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.99, 0.01], [0.1, 0.9], [0.7, 0.3], [0.97, 0.03]])
    assert suspects(probabilities, np.array([0, 0, 1, 1, 0, 1])).tolist() == [2, 5]


def test_the_threshold_is_that_of_the_class():
    # Of class 0 the model is surer than of class 1: 0.65 is much for one and little for the other.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.72, 0.28], [0.35, 0.65]])
    labels = np.array([0, 0, 1, 1, 1, 0])
    thresholds = [probabilities[labels == c, c].mean() for c in (0, 1)]
    assert thresholds == pytest.approx([2.15 / 3, 1.48 / 3])
    assert suspects(probabilities, labels).tolist() == [4, 5]
    probabilities[4] = [0.65, 0.35]
    assert suspects(probabilities, labels).tolist() == [5]


def test_a_wrong_but_unsure_prediction_is_no_suspect():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.05, 0.95]])
    assert suspects(probabilities, np.array([0, 0, 1, 1])).tolist() == []


def test_a_class_without_images_and_no_images_at_all():
    probabilities = np.array([[0.9, 0.05, 0.05], [0.02, 0.03, 0.95], [0.05, 0.9, 0.05]])
    assert suspects(probabilities, np.array([0, 1, 1])).tolist() == [1]
    assert suspects(np.empty((0, 3)), np.empty(0, int)).tolist() == []


def test_swapped_labels_of_held_out_photos_come_first_without_keras(run, monkeypatch):
    monkeypatch.setattr(module, "_classify", lambda *_: pytest.fail("the model ran"))
    swapped = swap(run, 12)
    found = find_suspects(run)
    paths = [one.path for one in found.found]
    assert len(swapped.intersection(paths)) >= 8
    assert len(swapped.intersection(paths[:8])) >= 7
    assert found.images == {"val": 269, "test": 269}
    margins = [one.margin for one in found.found]
    assert margins == sorted(margins, reverse=True)
    one = found.found[0]
    assert one.label != one.predicted
    assert 0 <= one.label_probability < one.predicted_probability <= 1
    assert one.margin == pytest.approx(one.predicted_probability - one.label_probability)


def test_without_saved_predictions_the_model_runs_again(run, capsys):
    expected = [(one.path, pytest.approx(one.margin, abs=1e-4)) for one in find_suspects(run).found]
    (run / "predictions.npz").unlink()
    found = find_suspects(run, progress=Screen())
    assert [(one.path, one.margin) for one in found.found] == expected
    assert "predictions.npz is missing, broken, or not of this model.keras" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["none", "broken", "another model", "other photos", "too few", "no numbers"])
def test_saved_predictions_count_only_if_whole_and_of_this_run(run, damage, monkeypatch):
    ran = []
    monkeypatch.setattr(module, "_classify", lambda *_: ran.append(True) or np.full((538, 10), 0.1))
    path = run / "predictions.npz"
    saved = dict(np.load(path))
    key, value = {
        "another model": ("model_sha256", np.array("0" * 64)),
        "other photos": ("sha256", saved["sha256"][::-1]),
        "too few": ("probabilities", saved["probabilities"][1:]),
        "no numbers": ("probabilities", saved["probabilities"] * np.nan),
    }.get(damage, ("seed", np.array(0)))
    np.savez(path, **{**saved, key: value})
    if damage == "broken":
        path.write_bytes(path.read_bytes()[:500])
    find_suspects(run)
    assert bool(ran) == (damage != "none")


def test_photos_of_training_are_looked_at_when_asked(run):
    swapped = swap(run, 20, split="train")
    assert not swapped.intersection(one.path for one in find_suspects(run).found)
    found = find_suspects(run, train=True)
    assert found.images["train"] == 1259
    trained = [one.path for one in found.found if one.split == "train"]
    assert len(swapped.intersection(trained)) >= 8  # 1.6 % of all have a swapped label
    assert len(swapped.intersection(trained[:8])) >= 4


def test_multi_label_runs_are_refused(run):
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(with_several_labels(manifest)))
    with pytest.raises(RunError, match=r"may have several labels each \(multi_label\).* Name another run"):
        find_suspects(run)


def test_a_run_that_held_nothing_out_says_what_to_do(run):
    manifest = json.loads((run / "run.json").read_text())
    manifest["split"] = {"train": manifest["split"]["train"], "val": [], "test": []}
    (run / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="held no photo out. Look at those it was trained on: --train"):
        find_suspects(run)


def test_photos_that_moved_are_found_by_their_contents(run, tmp_path):
    swap(run, 5)
    found = find_suspects(run)
    root, same = found_again(run, found.found, None)
    assert same == found.found
    (tmp_path / "moved").mkdir()
    for i, one in enumerate(found.found):
        shutil.copy(root / one.path, tmp_path / "moved" / f"{i}.png")
    new_root, moved = found_again(run, found.found, tmp_path / "moved")
    assert new_root == tmp_path / "moved"
    assert [(new_root / one.path).read_bytes() for one in moved] == [
        (root / one.path).read_bytes() for one in found.found
    ]
    (tmp_path / "moved" / "0.png").unlink()
    with pytest.raises(DataError, match="1 of .* photos of this run are nowhere in"):
        found_again(run, found.found, tmp_path / "moved")


def made_up(root, count=1, **changes):
    """Suspects with photos of their own."""
    found = []
    for i in range(count):
        scene(i).save(root / f"{i}.png")
        one = {"path": f"{i}.png", "sha256": "", "split": "val", "label": "ants", "predicted": "bees"}
        found.append(Suspect(**{**one, "label_probability": 0.01, "predicted_probability": 0.98, **changes}))
    return Suspects(run="runs/mine", images={"val": count}, found=tuple(found))


class Tags(HTMLParser):
    """Collects the elements, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_everything_it_shows(tmp_path):
    text = save_page(tmp_path / "page.html", made_up(tmp_path, 3), tmp_path).read_text()
    tags = Tags(text).tags
    pictures = [attrs["src"] for tag, attrs in tags if tag == "img"]
    assert len(pictures) == 3
    for source in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        assert image.size == (160, 120)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    assert not re.search("https?:|url\\(|@import", text)
    assert "default-src 'none'" in text


def test_names_are_escaped(tmp_path):
    nasty = '<script>alert(1)</script>"&'
    found = made_up(tmp_path, label=nasty, predicted=nasty, path=f"{nasty}.png")
    page = Tags(save_page(tmp_path / "page.html", found, tmp_path).read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(nasty) == 3
    assert "no picture" in page.text  # there is no such file


def test_a_thumbnail_is_small_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = made_up(tmp_path)
    scene(1, (2000, 1000)).save(tmp_path / "0.png", exif=exif)
    text = save_page(tmp_path / "page.html", found, tmp_path).read_text()
    (source,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert Image.open(io.BytesIO(base64.b64decode(source))).size == (120, 240)


def test_a_long_list_is_cut_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "MOST", 2)
    page = Tags(save_page(tmp_path / "page.html", made_up(tmp_path, 3), tmp_path).read_text())
    assert "3 suspicious labels" in page.text
    assert "The first 2 are shown, the rest is in suspects.csv." in page.text
    assert [tag for tag, _ in page.tags].count("li") == 2


def test_the_table_has_every_suspect_and_no_formulas(tmp_path):
    path = save_csv(tmp_path, made_up(tmp_path, 2, label="=1+1"))
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["path"] for row in rows] == ["0.png", "1.png"]
    assert (rows[0]["label"], rows[0]["predicted"], rows[0]["margin"]) == ("'=1+1", "bees", "0.9700")


@pytest.mark.slow
@pytest.mark.real_data
def test_swapped_labels_among_photos_of_hands_are_found(shared, weights_v2, tmp_path):
    from tlkit.transfer.finetune import finetune
    from tlkit.transfer.options import FinetuneOptions

    random = np.random.default_rng(3)
    source, root, swapped = shared / "data" / "sign_digits", tmp_path / "hands", 0
    for path in sorted(source.glob("*/*/*")):
        split, label = path.relative_to(source).parts[:2]
        wrong = random.random() < 0.04
        swapped += wrong and split == "test"
        target = str((int(label) + random.integers(1, 10)) % 10) if wrong else label
        (root / split / target).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / split / target / f"{'swapped' if wrong else 'right'}_{label}_{path.name}")
    options = {"weights": str(weights_v2), "input_size": 96, "freeze": "all-but-head", "epochs": 15}
    run = finetune(FinetuneOptions(base="mobilenet_v2", data=root, runs=tmp_path / "runs", **options))
    found = [one for one in find_suspects(run).found if one.split == "test"]
    right = ["swapped" in one.path for one in found]
    assert sum(right) / swapped >= 0.6
    assert np.mean(right) >= 0.3
    assert np.mean(right[:5]) >= 0.8
