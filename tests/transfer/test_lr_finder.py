"""The learning-rate finder: what it suggests, that it leaves no trace, and that a killed run keeps what was found."""

import csv
import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import keras
import numpy as np
import pytest

from tlkit.errors import CheckpointError
from tlkit.manifest import read_manifest
from tlkit.progress import Progress
from tlkit.transfer import lr_finder, phases
from tlkit.transfer.finetune import finetune, resume
from tlkit.transfer.loop import Training
from tlkit.transfer.lr_finder import STEPS, Find, Finds, alike, has_diverged, lr_find, rate_at, smooth, suggest
from tlkit.transfer.lr_plot import in_text, svg
from tlkit.transfer.options import WEIGHT_DECAY, FinetuneOptions
from tlkit.transfer.sweep import sweep
from tlkit.transfer.training import Recipe

from .test_loop import small_source

RATES = [rate_at(i) for i in range(STEPS)]


def curve(steepest, after=0.5):
    """A loss that falls from 2 to 1 around `steepest`, and explodes above `after`."""
    return [1 + 1 / (1 + (rate / steepest) ** 2) + max(0, rate / after - 1) * 10 for rate in RATES]


def found(steepest=3e-3, title="Training"):
    losses = curve(steepest)
    return Find(rates=RATES, losses=losses, smoothed=losses, learning_rate=suggest(RATES, losses), title=title)


class Told(Progress):
    def __init__(self):
        self.said, self.warned = [], []

    def say(self, text):
        self.said.append(text)

    def warn(self, text):
        self.warned.append(text)


@pytest.mark.parametrize("steepest", [1e-4, 3e-3, 5e-2])
def test_the_steepest_descent_is_suggested(steepest):
    assert suggest(RATES, curve(steepest)) == pytest.approx(steepest, rel=0.2)


def test_a_loss_that_never_falls_suggests_nothing():
    assert suggest(RATES, [1 + rate for rate in RATES]) is None
    assert suggest(RATES, [1.0 - 0.001 * (i > 50) for i in range(STEPS)]) is None


def test_rates_grow_exponentially_over_six_decades():
    assert RATES[0] == pytest.approx(1e-6)
    assert RATES[-1] == pytest.approx(1)
    assert {round(b / a, 9) for a, b in zip(RATES, RATES[1:], strict=False)} == {round(10 ** (6 / 99), 9)}


def test_smoothing_has_no_bias_at_the_start():
    assert smooth([2.0] * 30) == pytest.approx([2.0] * 30)
    assert smooth([1.0, 3.0])[1] == pytest.approx((0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.9**2))


def labels(source):
    return np.arange(10) % 3


def variables(model):
    return [keras.ops.convert_to_numpy(v).copy() for layer in model.layers for v in layer.variables]


def swept(source, progress=None):
    return sweep(
        source,
        labels(source),
        batch_size=4,
        frozen=(),
        recipe=Recipe(),
        stages=("stem",),
        seed=0,
        progress=progress or Progress(),
    )


def test_a_sweep_leaves_weights_statistics_and_random_states_bit_for_bit():
    source = small_source()
    before = variables(source.model)
    find = swept(source)
    assert len(before) > 4  # the state of the dropout is among them
    assert all(np.array_equal(a, b) for a, b in zip(before, variables(source.model), strict=True))
    assert min(find.smoothed) < 0.95 * find.smoothed[0]  # it did train
    assert find.rates == pytest.approx(RATES[: len(find.rates)])


def test_a_sweep_ends_where_the_loss_is_four_times_the_smallest_and_no_smaller_than_at_the_start():
    assert not has_diverged([1.0, 0.1, 0.5])
    assert not has_diverged([1.0, 0.5, 1.9])
    assert has_diverged([1.0, 0.1, 1.1])
    assert has_diverged([1.0, 0.5, 2.1])
    assert has_diverged([1.0, math.nan])


def test_a_sweep_sees_the_same_few_batches_again_and_again():
    seen = []
    source = small_source()
    plain = source.batches
    watched = replace(source, batches=lambda steps: plain(seen.append(tuple(s.indices)) or s for s in steps))
    find = swept(watched)
    assert len(find.losses) > 6
    assert seen[: len(find.losses)] == (seen[:3] * STEPS)[: len(find.losses)]  # ten photos are three batches


def test_what_makes_batches_differ_is_taken_out():
    assert alike([1.0, 3.0, 0.9, 2.7], 2) == pytest.approx([2.0, 2.0, 1.9, 1.7])


def test_a_sweep_that_fails_leaves_no_trace_either():
    def stop(number):
        if number == 30:
            raise RuntimeError("stop")

    source = small_source(on_step=stop)
    before = variables(source.model)
    with pytest.raises(RuntimeError, match="stop"):
        swept(source)
    assert all(np.array_equal(a, b) for a, b in zip(before, variables(source.model), strict=True))


def options(folder, tmp_path, **values):
    return FinetuneOptions(
        **{
            "base": "lenet5",
            "data": folder,
            "head": "gap",
            "weights": "none",
            "epochs": 2,
            "batch_size": 8,
            "runs": tmp_path / "runs",
            "learning_rate": "auto",
            "name": "auto",
            **values,
        }
    )


def test_training_at_the_rate_that_was_found_is_as_if_it_had_been_given(make_folder, tmp_path):
    folder = make_folder()
    told = Told()
    run = finetune(options(folder, tmp_path), told)
    rate = read_manifest(run)["schedule"]["learning_rate"]
    assert any(text.startswith(f"--learning-rate auto: {rate:.2g}, where") for text in told.said)
    with (run / "lr_find.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rate in [pytest.approx(float(row["learning_rate"]), rel=1e-5) for row in rows]
    assert {row["sweep"] for row in rows} == {"1"}
    assert ET.fromstring((run / "lr_find.svg").read_text()).tag.endswith("svg")
    again = finetune(options(folder, tmp_path, learning_rate=rate, name="given"))
    a, b = (keras.saving.load_model(one / "model.keras").get_weights() for one in (run, again))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not (again / "lr_find.csv").exists()


def test_every_phase_is_swept_and_a_killed_run_keeps_what_was_found(make_folder, tmp_path, monkeypatch):
    several = options(make_folder(), tmp_path, freeze="head-then:none", epochs=4)
    whole = read_manifest(finetune(several))["schedule"]["phases"]

    def killed(self, *args, **named):
        raise RuntimeError("killed")

    stopped = options(several.data, tmp_path, **{**vars(several), "name": "stopped"})
    ran, count = Training.run, [0]

    def second_is_killed(self, *args, **named):
        count[0] += 1
        return killed(self) if count[0] == 2 else ran(self, *args, **named)

    monkeypatch.setattr(Training, "run", second_is_killed)
    with pytest.raises(RuntimeError, match="killed"):
        finetune(stopped)
    monkeypatch.undo()
    kept = json.loads((tmp_path / "runs" / "stopped" / "checkpoints" / "learning_rates.json").read_text())
    assert sorted(kept) == ["0", "1"]
    monkeypatch.setattr(phases, "sweep", killed)
    done = resume("stopped", tmp_path / "runs", {})
    found = read_manifest(done)["schedule"]["phases"]
    assert [one["learning_rate"] for one in found] == [kept[i]["learning_rate"] for i in ("0", "1")]
    assert [one["learning_rate"] for one in found] == pytest.approx([one["learning_rate"] for one in whole])
    with (done / "lr_find.csv").open() as file:
        assert {row["sweep"] for row in csv.DictReader(file)} == {"1", "2"}


def test_without_a_suggestion_the_usual_rate_is_taken(make_folder, tmp_path, monkeypatch):
    nothing = Find(rates=RATES, losses=[1.0] * STEPS, smoothed=[1.0] * STEPS, learning_rate=None)
    monkeypatch.setattr(phases, "sweep", lambda *a, **k: nothing)
    told = Told()
    run = finetune(options(make_folder(), tmp_path), told)
    assert "The loss falls at no learning rate of the sweep, so the usual one is taken: 0.003" in told.warned
    assert read_manifest(run)["schedule"]["learning_rate"] == 3e-3


def test_a_broken_record_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / lr_finder.RECORD).write_text("[1]")
    with pytest.raises(CheckpointError, match=r"learning_rates.json is broken .*Train again, without --resume"):
        Finds(tmp_path)


def test_lr_find_leaves_no_run(make_folder, tmp_path):
    find = lr_find(options(make_folder(), tmp_path, learning_rate=None))
    assert 1e-6 < find.learning_rate < 1
    assert find.title == "Training"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("freeze", "values", "decay", "count"),
    [
        ("all-but-head", {}, WEIGHT_DECAY, 1),
        ("all-but-head", {"weight_decay": 0.0}, 0.0, 1),
        ("head-then:none", {"head_weight_decay": 0.5}, 0.5, 2),
        ("none", {"head_weight_decay": 0.5}, WEIGHT_DECAY, 1),
    ],
)
def test_a_sweep_trains_as_its_phase_does(freeze, values, decay, count, make_folder, tmp_path, monkeypatch):
    recipes = []
    monkeypatch.setattr(phases, "sweep", lambda *args, recipe, **named: recipes.append(recipe) or found())
    find = lr_find(options(make_folder(), tmp_path, freeze=freeze, learning_rate=None, **values))
    assert [recipe.weight_decay for recipe in recipes] == [decay]
    assert find.phases == count
    assert find.to_dict()["phases"] == count


def test_pictures_show_the_curve_and_the_suggestion():
    find = found()
    lines = in_text(find, width=40, height=8).split("\n")
    assert len(lines) == 10
    column = 10 + round((math.log10(find.learning_rate) + 6) / 6 * 39)
    assert all(line[column] in ":▀▄█" for line in lines[:8])
    heights = {x: [i for i, line in enumerate(lines[:8]) if line[x : x + 1] in {"▀", "▄", "█"}] for x in (10, 40)}
    assert 0 < heights[10][0] < 3  # 2, where the picture ends at 2.3
    assert heights[40] == [7]  # 1, the smallest
    assert lines[0].startswith("     2.3 |") and lines[7].startswith("       1 |")
    assert set(in_text(find, blocks=False)) <= set("0123456789.e+-| *:\n")
    root = ET.fromstring(svg([find, found(title="<all> & more")]))
    texts = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert "<all> & more: loss against learning rate" in texts
    assert f"{find.learning_rate:.2g}" in texts
    assert sum(one.tag.endswith("polyline") for one in root.iter()) == 6
