"""Downloads from a real server on this machine: whole, cut, slow, killed and wrong."""

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import pytest

from tlkit.errors import UnknownNameError, WeightsError
from tlkit.models import registry
from tlkit.models.imagenet import DownloadError, fetch_imagenet, file_of, listed_files, with_weights
from tlkit.progress import Bar, Progress

V2 = registry.find("mobilenet_v2")
NAME = "weights_96_no_top.h5"


def hdf5(size=300_000):
    """Returns a whole HDF5 file."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("kernel", (size // 4,), "f4")[:] = 1
    return content.getvalue()


class Weights(BaseHTTPRequestHandler):
    """Serves `/<how>/<file>`."""

    def do_GET(self):
        content, how = self.server.content, self.path.split("/")[1]
        if how == "gone":
            self.send_error(404)
            return
        if how == "page":
            content = b"<html>Please log in.</html>"
        self.send_response(200)
        if how != "unmeasured":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        self.server.half_sent.set()
        if how == "slow":
            self.server.closing.wait(30)
        if how in ("whole", "page"):
            self.wfile.write(content[half:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Weights) as running:
        running.content = hdf5()
        running.half_sent, running.closing = threading.Event(), threading.Event()
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        running.address = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.closing.set()
        running.shutdown()


def served(server, how, architecture=V2, md5=None):
    """Returns the architecture with its weights at the server."""
    url = f"{server.address}/{how}/weights_{{size}}{{top}}.h5"
    published = replace(architecture.published, url=url, no_top_suffix="_no_top", md5=md5 or {}, widths={})
    return replace(architecture, published=published)


class Watching(Progress):
    def bar(self, title, total, unit="images"):
        self.made = Bar(total)
        return contextlib.nullcontext(self.made)


def test_a_whole_file_gets_its_name_and_is_fetched_once(server, tmp_path):
    watching = Watching()
    path = fetch_imagenet(served(server, "whole"), input_size=96, top=False, progress=watching)
    assert path == tmp_path / "keras" / "models" / NAME
    assert path.read_bytes() == server.content
    assert watching.made.done == watching.made.total == len(server.content) // 1000
    assert fetch_imagenet(served(server, "gone"), input_size=96, top=False) == path
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("cut", "the connection ended after [0-9,]+ of [0-9,]+ bytes"),
        ("unmeasured", "what came is no whole HDF5 file"),
        ("page", "what came is no whole HDF5 file"),
        ("gone", "HTTP Error 404"),
    ],
)
def test_what_is_not_whole_is_not_kept(server, tmp_path, how, reason):
    with pytest.raises(DownloadError, match=f"could not be downloaded .{reason}"):
        fetch_imagenet(served(server, how), input_size=96, top=False)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_with_another_checksum_is_not_kept(server, tmp_path):
    right = hashlib.md5(server.content).hexdigest()
    assert fetch_imagenet(served(server, "whole", md5={NAME: right}), input_size=96, top=False).is_file()
    with pytest.raises(DownloadError, match=f"what came has the MD5 {right}, not 0000"):
        fetch_imagenet(served(server, "whole", md5={"weights_224_no_top.h5": "0000"}), input_size=224, top=False)
    assert [path.name for path in (tmp_path / "keras" / "models").iterdir()] == [NAME]


def test_half_a_file_that_lies_there_is_fetched_again(server, tmp_path):
    """Keras writes downloads under their own name: when it is killed, half a file looks like a whole one."""
    place = tmp_path / "keras" / "models" / NAME
    place.parent.mkdir(parents=True)
    place.write_bytes(server.content[: len(server.content) // 2])
    assert fetch_imagenet(served(server, "whole"), input_size=96, top=False).read_bytes() == server.content


@pytest.mark.parametrize("how_to_end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_leaves_no_file_that_counts_as_whole(server, tmp_path, how_to_end):
    code = (
        "from dataclasses import replace\n"
        "from tlkit.models import imagenet, registry\n"
        "v2 = registry.find('mobilenet_v2')\n"
        f"published = replace(v2.published, url='{server.address}/slow/weights_{{size}}{{top}}.h5', widths={{}})\n"
        "imagenet.fetch_imagenet(replace(v2, published=published), input_size=96, top=False)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ, stderr=subprocess.DEVNULL)
    assert server.half_sent.wait(30)
    models = tmp_path / "keras" / "models"
    deadline = time.monotonic() + 10
    while not (models.is_dir() and any(models.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how_to_end)
    assert process.wait(30) != 0
    assert not (models / NAME).exists()
    assert how_to_end == signal.SIGKILL or list(models.iterdir()) == []
    assert fetch_imagenet(served(server, "whole"), input_size=96, top=False).read_bytes() == server.content


@pytest.mark.parametrize(
    ("input_size", "top", "name"),
    [
        (96, False, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"),
        (100, False, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
        (224, True, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"),
    ],
)
def test_the_file_is_the_one_that_keras_applications_takes(input_size, top, name):
    assert file_of(V2.published, input_size=input_size, top=top).path.name == name


def test_the_default_files_are_listed_and_others_when_they_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    defaults = [file.path.name for _, file in listed_files()]
    assert defaults == [
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    ]
    other = file_of(V2.published, input_size=96, top=False).path
    other.parent.mkdir(parents=True)
    other.write_bytes(b"x")
    assert [file.path.name for _, file in listed_files()] == [*defaults, other.name]


def test_names_are_looked_up_before_anything_is_fetched():
    assert [a.name for a in with_weights(("all", "vgg16"))] == ["vgg16", "mobilenet_v2"]
    with pytest.raises(UnknownNameError, match="no architecture called 'vgg_16'. Did you mean vgg16"):
        with_weights(("mobilenet_v2", "vgg_16"))
    with pytest.raises(WeightsError, match="no ImageNet weights for lenet5. There are for: vgg16, mobilenet_v2"):
        with_weights(("lenet5",))
