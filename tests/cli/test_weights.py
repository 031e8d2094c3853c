"""`tlkit weights`, against a real server on this machine."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tlkit.cli.main import main
from tlkit.models import registry
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan

from ..models.test_imagenet import NAME, V2, served, server  # noqa: F401

VGG = registry.find("vgg16")


@pytest.fixture
def publish(monkeypatch):
    """Puts architectures into the registry."""

    def put(*architectures):
        monkeypatch.setattr(registry, "ARCHITECTURES", architectures)
        monkeypatch.setattr(registry, "_BY_NAME", {one.name: one for one in architectures})

    return put


def test_weights_alone_lists_the_files_and_which_are_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    place = tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    place.write_bytes(b"x" * 1500)
    assert main(["weights"]) == 0
    header, *rows, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "file", "in", "Keras'", "cache", "size"]
    table = {row.split()[0]: row.split()[1:] for row in rows}
    assert list(table) == [one.name for one in registry.ARCHITECTURES if one.published]
    assert table["vgg16"] == [place.name, "yes", "1.5", "kB"]
    assert table["mobilenet_v2"][1:] == ["no", "-"]
    assert str(tmp_path / "models") in last
    assert main(["weights", "list", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["vgg16"] == {"name": "vgg16", "file": place.name, "path": str(place), "bytes": 1500}
    assert found["mobilenet_v2"]["bytes"] is None


def test_fetch_prints_path_bytes_and_sha256_and_where_to_copy_them(server, publish, tmp_path, capsys):  # noqa: F811
    publish(served(server, "whole"))
    assert main(["weights", "fetch", "mobilenet_v2", "--input-size", "96"]) == 0
    captured = capsys.readouterr()
    path = tmp_path / "keras" / "models" / NAME
    sha256 = hashlib.sha256(server.content).hexdigest()
    name, what, where = captured.out.splitlines()
    assert name == f"mobilenet_v2: {path}"
    assert what.endswith(f"kB, sha256 {sha256}")
    assert where == (
        f"For a machine that is offline, copy from {path.parent} to $KERAS_HOME/models there, "
        "or ~/.keras/models when KERAS_HOME is not set."
    )
    assert captured.err.startswith("Downloading weights: ")
    assert main(["weights", "fetch", "all", "--input-size", "96", "--json"]) == 0
    captured = capsys.readouterr()
    expected = {"name": "mobilenet_v2", "path": str(path), "bytes": len(server.content), "sha256": sha256}
    assert json.loads(captured.out) == [expected]
    assert captured.err == ""


def test_a_width_is_fetched(server, publish, tmp_path, capsys):  # noqa: F811
    architecture = served(server, "whole")
    url = architecture.published.url.replace("weights_", "weights_{width}_")
    publish(replace(architecture, published=replace(architecture.published, url=url, widths={0.5: "5_0", 1.0: "1_0"})))
    assert main(["weights", "fetch", "mobilenet_v2", "--input-size", "96", "--width", "0.5"]) == 0
    assert [path.name for path in (tmp_path / "keras" / "models").iterdir()] == ["weights_5_0_96_no_top.h5"]
    capsys.readouterr()
    assert main(["weights", "fetch", "mobilenet_v2", "--width", "0.6"]) == 1
    assert "There are no ImageNet weights of width 0.6 for keras.applications.MobileNetV2" in capsys.readouterr().err


def test_fetching_imports_neither_keras_nor_tensorflow(server, tmp_path):  # noqa: F811
    """Ten seconds of imports are no part of a download."""
    code = (
        "import sys\nfrom dataclasses import replace\nfrom tlkit.models import registry\n"
        "from tlkit.cli.main import main\n"
        "v2 = registry.find('mobilenet_v2')\n"
        f"url = '{server.address}/whole/weights_{{size}}{{top}}.h5'\n"
        "v2 = replace(v2, published=replace(v2.published, url=url, widths={}))\n"
        "registry.ARCHITECTURES = (v2,)\n"
        "code = main(['weights', 'fetch', 'all'])\n"
        "print(code, sorted({'tensorflow', 'keras'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_a_failure_of_one_does_not_stop_the_others(server, publish, tmp_path, capsys):  # noqa: F811
    publish(served(server, "cut", VGG), served(server, "whole"))
    assert main(["weights", "fetch", "all"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("mobilenet_v2: ")
    assert "Error: The ImageNet weights of vgg16 could not be downloaded (the connection ended after" in captured.err
    assert "Error: 1 of 2 files could not be fetched. Try again, or fetch them on a machine with a" in captured.err
    assert f"put them into {tmp_path / 'keras' / 'models'} under" in captured.err
    assert captured.err.count("Do one of these") == 0
    assert [path.name for path in (tmp_path / "keras" / "models").iterdir()] == ["weights_224_no_top.h5"]


def test_json_names_what_failed_and_why_and_the_advice_comes_once(server, publish, tmp_path, capsys):  # noqa: F811
    publish(served(server, "cut", VGG), served(server, "cut"))
    assert main(["weights", "fetch", "all", "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [one["name"] for one in found] == ["vgg16", "mobilenet_v2"]
    assert all("the connection ended after" in one["error"] and one["url"].startswith("http") for one in found)
    errors = [line for line in captured.err.splitlines() if "Error: " in line]
    assert len(errors) == 3 and errors[-1].startswith("Error: 2 of 2 files could not be fetched. Try again")


def test_unknown_names_and_sizes_are_refused_before_anything_is_fetched(server, publish, tmp_path, capsys):  # noqa: F811
    publish(served(server, "whole"), served(server, "whole", VGG))
    for args, code, message in (
        (["mobilenet_v2", "vgg_16"], 1, "There is no architecture called 'vgg_16'. Did you mean vgg16"),
        (["mobilenet_v2", "vgg16", "--head", "original", "--input-size", "96"], 2, "takes 224 pixels only, not 96"),
        (["vgg16", "--width", "0.5"], 2, "VGG16 has one width only, not 0.5"),
        (["mobilenet_v2", "--input-size", "20"], 2, "needs an input of at least 32 pixels, not 20"),
        ([], 2, "Missing argument 'NAME...'"),
    ):
        assert main(["weights", "fetch", *args]) == code
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.out == ""
    assert not (tmp_path / "keras").exists()


@pytest.mark.parametrize("architecture", [VGG, V2], ids=lambda a: a.name)
@pytest.mark.parametrize("options", [{}, {"head": "original"}, {"input_size": 128}], ids=str)
def test_the_file_is_the_one_that_finetune_takes(
    server,  # noqa: F811
    publish,
    architecture,
    options,
    tmp_path,
    monkeypatch,
    make_folder,
):
    """Both ask for it themselves; only the loading is not reached."""
    from tlkit.errors import TlkitError
    from tlkit.transfer import job
    from tlkit.transfer.finetune import finetune

    if architecture is VGG and options:
        options = {"head": "original"} if "head" in options else {"input_size": 64}
    publish(served(server, "whole", architecture))
    args = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    assert main(["weights", "fetch", architecture.name, *args]) == 0
    (fetched,) = (tmp_path / "keras" / "models").iterdir()
    taken = []

    def stop(model, architecture, path):
        taken.append(path)
        raise TlkitError("far enough")

    monkeypatch.setattr(job, "load_weights", stop)
    monkeypatch.setattr(job.registry, "build", lambda *args, **kwargs: SimpleNamespace(outputs=[None]))
    chosen = FinetuneOptions(base=architecture.name, data=make_folder(each=6), runs=tmp_path / "runs", **options)
    assert plan(chosen).weights == "imagenet"
    with pytest.raises(TlkitError, match="far enough"):
        finetune(chosen)
    assert taken == [fetched]
