"""`--freeze auto`: few photos that are like those of the weights keep the stages, others thaw them."""

import subprocess
import sys

import numpy as np
import pytest

from tlkit.errors import OptionError, WeightsError
from tlkit.manifest import read_manifest
from tlkit.models import registry
from tlkit.progress import Progress
from tlkit.transfer import auto, forecast
from tlkit.transfer.features import cut
from tlkit.transfer.finetune import finetune, resume
from tlkit.transfer.forecast import foresee
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan

from .test_phases import Told


@pytest.mark.parametrize(
    ("photos", "classes", "share", "strategy", "epochs"),
    [
        (207, 2, 0.04, "all-but-head", 60),  # ants and bees: 8 photos to learn from
        (1400, 10, 0.14, "head-then:none", 22),  # hands: far from ImageNet
        (80, 10, 0.35, "head-then:none", 80),
        (100_000, 100, 0.05, "head-then:none", 20),  # nearly right, but 5,000 photos to learn from
        (400, 5, 0.09, "all-but-head", 60),
        (600, 5, 0.09, "head-then:none", 48),
        (30, 2, 0.0, "all-but-head", 60),
    ],
)
def test_stages_are_thawed_where_there_is_something_to_learn(photos, classes, share, strategy, epochs):
    choice = auto.decide(photos, classes=classes, share=share, probed=photos, batch_size=32)
    assert (choice.strategy, choice.epochs) == (strategy, epochs)
    assert f"{photos / classes:.0f} photos a class in {classes} classes" in choice.why
    assert f"{1 - share:.1%} right" in choice.why


def test_the_probe_sees_what_can_be_told_apart():
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    apart = random.normal(size=(90, 2, 2, 10)) + 4 * np.eye(10)[labels][:, None, None]
    assert auto.probe(apart, labels, seed=0) == 0
    assert auto.probe(random.normal(size=(90, 40)), labels, seed=0) > 40


def test_a_probe_of_many_photos_looks_at_some_of_every_class():
    labels = np.array([0] * 5000 + [1] * 100 + [2] * 4 + [3])
    chosen = auto._sample(labels, np.bincount(labels), 2000)
    counts = np.bincount(labels[chosen], minlength=4)
    assert counts[3] == 0, "one photo can't be in three folds"
    assert counts[2] == 3
    assert 1900 < len(chosen) < 2100


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pretrained(tmp_path):
    registry.build("mobilenet_v2", classes=3, input_size=32, head="gap").save_weights(tmp_path / "w.weights.h5")
    return FinetuneOptions(
        base="mobilenet_v2",
        weights=tmp_path / "w.weights.h5",
        input_size=32,
        epochs=2,
        batch_size=8,
        runs=tmp_path / "runs",
        name="auto",
        data="to be given",
    )


def test_a_run_says_what_it_chose_and_why(tmp_path, make_folder, own_cache, pretrained):
    values = {**vars(pretrained), "data": make_folder(each=12)}
    folder = finetune(FinetuneOptions(**values), told := Told())
    freeze = read_manifest(folder)["freeze"]
    assert freeze["strategy"] == "auto"
    chosen = freeze["chosen"]
    assert chosen["strategy"] in ("all-but-head", "head-then:none")
    assert chosen["probe"]["photos"] == len(read_manifest(folder)["split"]["train"])
    assert any(
        line.startswith(f"--freeze auto: {chosen['strategy']}, 2 epochs: 8 photos a class") for line in told.lines
    )


def test_a_resumed_run_keeps_what_was_chosen(tmp_path, make_folder, own_cache, pretrained, monkeypatch):
    values = {**vars(pretrained), "data": make_folder(each=12)}
    from tlkit.transfer import phases

    def dying(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(phases, "train", dying)
        with pytest.raises(KeyboardInterrupt):
            finetune(FinetuneOptions(**values))
    before = read_manifest(tmp_path / "runs" / "auto")["freeze"]["chosen"]
    monkeypatch.setattr(auto, "choose", lambda *args: pytest.fail("it was chosen before"))
    manifest = read_manifest(resume("auto", tmp_path / "runs", {}))
    assert manifest["freeze"]["chosen"] == before


def test_without_pretrained_weights_everything_is_trained(tmp_path):
    decided = plan(FinetuneOptions(base="lenet5", freeze="auto"))
    assert (decided.undecided, decided.frozen, decided.choice.strategy) == (False, (), "none")
    assert decided.choice.why == "there are no pretrained weights to keep"


def test_a_head_alone_sees_views_and_learns_slowly_unless_the_user_says_otherwise(tmp_path):
    choice = auto.decide(200, classes=2, share=0.01, probed=200, batch_size=32)
    given = {"base": "mobilenet_v2", "weights": "w.h5", "data": "x", "freeze": "auto"}
    (phase,) = plan(FinetuneOptions(**given), choice).phases
    assert (phase.epochs, phase.learning_rate, phase.augment, phase.views, phase.cached) == (60, 1e-3, "light", 4, True)
    said = {"epochs": 5, "learning_rate": 0.1, "augment": "none"}
    (phase,) = plan(FinetuneOptions(**given, **said), choice).phases
    assert (phase.epochs, phase.learning_rate, phase.augment, phase.views) == (5, 0.1, "none", None)


def test_photos_that_make_no_folds_train_the_head_alone(tmp_path, make_folder, own_cache, pretrained):
    values = {**vars(pretrained), "data": make_folder(each=3)}  # one of each class to train on
    chosen = read_manifest(finetune(FinetuneOptions(**values)))["freeze"]["chosen"]
    assert (chosen["strategy"], chosen["why"]) == ("all-but-head", "classes have fewer than 3 photos to train on")


# --- What --plan foresees


def test_a_forecast_of_auto_shows_both_ways(make_folder, pretrained):
    found = foresee(FinetuneOptions(**{**vars(pretrained), "data": make_folder(each=6), "epochs": None}))
    assert [(one.strategy, one.condition) for one in found] == [
        ("all-but-head", "if little is wrong with what frozen features tell"),
        ("head-then:none", "else"),
    ]
    head, thawed = found
    assert {stage.trained for stage in head.stages[:-1]} == {None}
    assert {stage.trained for stage in thawed.stages[:-1]} == {(41, 80)}
    assert thawed.seconds > head.seconds


def test_a_forecast_counts_parameters_epochs_rates_and_cache(make_folder, pretrained):
    given = {"data": make_folder(each=6), "freeze": "gradual:2", "epochs": 5, "layer_decay": 0.5, "learning_rate": 1e-3}
    (found,) = foresee(FinetuneOptions(**{**vars(pretrained), **given}), Progress())
    model = registry.build("mobilenet_v2", classes=3, input_size=32, head="gap")
    assert sum(stage.parameters for stage in found.stages) == model.count_params()
    by_name = {stage.stage: stage for stage in found.stages}
    assert list(by_name) == [*registry.find("mobilenet_v2").stages, "head"]
    assert (by_name["head"].trained, by_name["head"].learning_rates) == ((1, 5), (3e-3, 1e-3, 1e-3))
    assert (by_name["stage5"].trained, by_name["stage5"].learning_rates) == ((3, 5), (5e-4, 5e-4))
    assert (by_name["stage4"].trained, by_name["stage4"].learning_rates) == ((5, 5), (2.5e-4,))
    assert by_name["stem"].trained is None
    numbers = 0
    for count in (6, 5, 4):  # frozen stages, phase by phase
        parts = cut(model, registry.find("mobilenet_v2").stages[:count])
        numbers += int(np.prod(parts.backbone.output.shape[1:]))
    assert found.cache_bytes == 4 * 18 * numbers, "18 photos, float32"


def test_a_forecast_leaves_nothing_behind(tmp_path, make_folder, own_cache, pretrained):
    foresee(FinetuneOptions(**{**vars(pretrained), "data": make_folder(each=6)}))
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache").exists()


def test_a_forecast_refuses_what_training_refuses(make_folder, pretrained):
    with pytest.raises(OptionError, match="--classes 7 was given"):
        foresee(FinetuneOptions(**{**vars(pretrained), "data": make_folder(each=6), "classes": 7}))


def test_a_forecast_refuses_what_cannot_be_tuned_or_loaded(tmp_path, make_folder, pretrained):
    values = {**vars(pretrained), "data": make_folder(each=6)}
    with pytest.raises(OptionError, match="--tune 5 tries heads on the output of frozen stages"):
        foresee(FinetuneOptions(**{**values, "freeze": "none", "tune": 5}))
    with pytest.raises(WeightsError, match="There is no weights file .*gone.h5"):
        foresee(FinetuneOptions(**{**values, "weights": tmp_path / "gone.h5"}))


def test_a_forecast_counts_what_comes_before_training(make_folder, pretrained, monkeypatch):
    monkeypatch.setattr(forecast, "_speed", lambda *args: forecast._Speed(decode=0.0, forward=0.01))
    values = {**vars(pretrained), "data": make_folder(each=6), "freeze": "head-then:none", "batch_size": 4}

    def seconds(**given):
        (found,) = foresee(FinetuneOptions(**{**values, **given}))
        return found.seconds

    whole = seconds(learning_rate=1e-3)
    # 100 steps of 4 photos for each of two phases: the second trains all, the first a head that costs next to nothing.
    assert seconds(learning_rate="auto") - whole == pytest.approx(3 * 0.01 * 100 * 4, rel=0.05)
    assert seconds(learning_rate=1e-3, tune=30) - whole == pytest.approx(15)


def test_a_plan_of_bad_options_does_not_wait_for_keras(tmp_path):
    code = (
        "import sys; from tlkit.cli.main import main; "
        f"code = main(['finetune', '--base', 'lenet5', '--data', {str(tmp_path / 'gone')!r}, '--plan']); "
        "print(code, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]
    assert "There is no folder" in done.stderr
