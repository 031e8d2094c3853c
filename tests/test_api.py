"""The Python face."""

import inspect
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import tlkit
from tlkit.errors import OptionError, UnknownNameError


def test_build_gives_logits_of_the_papers_model():
    model = tlkit.build("lenet5", classes=10)
    assert model.count_params() == 61_706
    assert model.output.shape == (None, 10)


def test_build_loads_weights(tmp_path):
    source = tlkit.build("mobilenet_v2", classes=4, input_size=32)
    source.save_weights(tmp_path / "a.weights.h5")
    copy = tlkit.build("mobilenet_v2", classes=4, input_size=32, weights=tmp_path / "a.weights.h5")
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    assert np.allclose(source(x), copy(x))


def test_a_run_predicts_and_exports(run):
    from tlkit.data.digits import digits_folder

    loaded = tlkit.load_run(run)
    photo = next((digits_folder() / "5").iterdir())
    (prediction,) = loaded.predict(photo, top=1)
    assert prediction.top[0][0] == "5"
    assert loaded.export("tflite", precision="int8", calibration=30)["precision"] == "int8"
    assert loaded.manifest["artifacts"][0]["path"] == "artifacts/model.int8.tflite"
    assert loaded.model.output.shape == (None, 10)


def test_finetune_returns_the_run(make_folder, tmp_path):
    found = tlkit.finetune(make_folder(each=8), base="lenet5", epochs=1, runs=tmp_path / "runs")
    assert found.manifest["status"] == "complete"
    assert tlkit.load_run(runs=tmp_path / "runs").folder == found.folder


def test_unknown_names_get_a_suggestion(run):
    with pytest.raises(OptionError, match="no option 'epoch'. Did you mean epochs"):
        tlkit.finetune("digits", base="lenet5", epoch=3)
    with pytest.raises(OptionError, match="no option 'calibrate'. Did you mean calibration"):
        tlkit.load_run(run).export("tflite", calibrate=3)
    with pytest.raises(UnknownNameError, match="Did you mean vgg16"):
        tlkit.build("vgg-16")
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        tlkit.train  # noqa: B018


def test_every_option_is_a_typed_keyword():
    from typing import Literal, get_type_hints

    from tlkit.convert.options import ExportOptions
    from tlkit.keywords import BuildKeywords, ExportKeywords, FinetuneKeywords
    from tlkit.models.architecture import Head
    from tlkit.transfer.options import FinetuneOptions

    options = get_type_hints(FinetuneOptions)
    explicit = {name: options.pop(name) for name in ("base", "data", "parent", "classes")}
    assert explicit.keys() <= inspect.signature(tlkit.finetune).parameters.keys()
    names = {"Head": Head, "Literal": Literal}
    assert get_type_hints(FinetuneKeywords, localns=names) == {**options, "runs": str | Path}
    exported = get_type_hints(ExportOptions)
    del exported["to"], exported["precision"]
    assert get_type_hints(ExportKeywords) == exported
    for keywords in (FinetuneKeywords, ExportKeywords, BuildKeywords):
        for name in keywords.__annotations__:
            assert f"\n        {name}: " in keywords.__doc__, name


def test_completion_at_run_time_shows_the_options_and_their_defaults():
    from tlkit.transfer.options import FinetuneOptions

    shown = inspect.signature(tlkit.finetune).parameters
    for field in fields(FinetuneOptions):
        assert field.name in shown
        assert field.name in ("data", "runs") or shown[field.name].default == field.default
    assert "options" not in shown
    assert {"calibration", "max_drop"} <= inspect.signature(tlkit.Run.export).parameters.keys()
    assert {"dropout", "groups", "shortcut"} <= inspect.signature(tlkit.build).parameters.keys()


def test_every_argument_of_a_builder_is_a_typed_keyword():
    from typing import get_type_hints

    from tlkit.keywords import BuildKeywords
    from tlkit.models.table import ARCHITECTURES

    taken = {}
    for architecture in ARCHITECTURES:
        builder = getattr(architecture.module, architecture.builder)
        hints = get_type_hints(builder)
        taken |= {
            name: hints[name] for name in inspect.signature(builder).parameters if name not in architecture.options
        }
    for name in ("classes", "input_size", "head"):
        del taken[name]
    assert get_type_hints(BuildKeywords) == {**taken, "base_input": str | None}


def test_predict_takes_paths_and_says_so(run):
    with pytest.raises(
        OptionError, match="predict takes paths of image files, not ndarray. For pixels .* use run.model"
    ):
        tlkit.load_run(run).predict([np.zeros((4, 4, 3))])
