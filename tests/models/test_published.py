"""The table of published files, held to what the publishers themselves say."""

import json
import sys
from pathlib import Path

import keras
import pytest

from tlkit.models import published
from tlkit.models.architecture import Published
from tlkit.models.imagenet import file_of, files_of
from tlkit.models.registry import ARCHITECTURES

from ..conftest import ROOT

EVERY = {name: value for name, value in vars(published).items() if isinstance(value, Published)}
KERAS = {name: value for name, value in EVERY.items() if value.source.startswith("keras.applications.")}
TORCH = {name: value for name, value in EVERY.items() if value.source.startswith("torchvision.models.")}
STATED = json.loads((Path(__file__).parent / "golden" / "torchvision.json").read_text())["published"]


@pytest.mark.parametrize("name", TORCH)
def test_torchvisions_files_are_those_that_it_states(name):
    one, stated = TORCH[name], STATED[TORCH[name].source.rpartition(".")[2]]
    (file,) = files_of(one)
    assert file.url == stated["url"]
    assert file.url.endswith(f"-{file.sha256[:8]}.pth")
    assert len(file.sha256) in (8, 64)
    assert one.megabytes == pytest.approx(stated["mebibytes"] * 2**20 / 1e6, abs=0.06)
    assert 100 * one.accuracy.top1 == pytest.approx(stated["top1"])
    assert 100 * one.accuracy.top5 == pytest.approx(stated["top5"])


def asked_for(monkeypatch, one, **options):
    """Returns url and MD5 that keras.applications asks for, without downloading."""
    constructor = getattr(keras.applications, one.source.rpartition(".")[2])
    module = sys.modules[constructor.__module__]
    found = {}

    def get_file(fname, origin, file_hash=None, **_):
        found.update(name=fname, url=origin, md5=file_hash)
        raise InterruptedError

    monkeypatch.setattr(module.file_utils, "get_file", get_file)
    with pytest.raises(InterruptedError):
        constructor(weights="imagenet", **options)
    return found


def check_file(monkeypatch, one, *, size, top, width):
    options = {"input_shape": (size, size, 3), "include_top": top}
    found = asked_for(monkeypatch, one, **options, **({"alpha": width} if one.widths else {}))
    file = file_of(one, input_size=size, top=top, width_multiplier=width)
    assert found == {"name": file.path.name, "url": file.url, "md5": file.md5}


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("name", ["VGG16", "VGG19", "MOBILENET_V1", "MOBILENET_V3_SMALL"])
def test_keras_files_are_those_that_it_fetches(monkeypatch, name, top):
    check_file(monkeypatch, KERAS[name], size=224, top=top, width=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("name", KERAS)
def test_every_width_and_size_of_keras_files_is_one_that_it_fetches(monkeypatch, name, top):
    one = KERAS[name]
    wanted = {(one.sizes[-1], width) for width in one.widths or (1.0,)} | {(size, 1.0) for size in one.sizes}
    for size, width in sorted(wanted):
        check_file(monkeypatch, one, size=size, top=top, width=width)


def test_the_md5s_are_of_files_that_there_are():
    for one in KERAS.values():
        assert set(one.md5) <= {file.path.name for file in files_of(one)}
        assert not one.md5 or all(file.md5 for file in files_of(one))


def test_every_file_has_an_architecture_that_takes_it():
    taken = {id(architecture.published): architecture for architecture in ARCHITECTURES if architecture.published}
    assert [name for name, one in EVERY.items() if id(one) not in taken] == []
    assert {*KERAS, *TORCH} == set(EVERY)
    for publisher, files in (("keras", KERAS), ("torch", TORCH)):
        for name, one in files.items():
            assert any(origin.startswith(publisher) for origin in taken[id(one)].origins), name


def test_the_documentation_is_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from make_weights import text

    assert (ROOT / "docs" / "weights.md").read_text() == text(), "run python docs/make_weights.py"
