"""`.pth` files: what torch wrote is read exactly; whatever else a pickle can say is refused, and nothing is run."""

import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tlkit.errors import WeightsError
from tlkit.models import torch_file
from tlkit.models.torch_file import read_torch

from . import torch_files as made

GOLDEN = Path(__file__).parent / "golden"


def tiny():
    with np.load(GOLDEN / "tiny.npz") as file:
        return {name: file[name] for name in file}


def expected_layers():
    state = tiny()
    parts = {"conv": ["weight"], "bn": ["weight", "bias", "running_mean", "running_var"]}
    parts |= {"depthwise": ["weight", "bias"], "fc": ["weight", "bias"]}
    return {layer: [state[f"{layer}.{part}"] for part in names] for layer, names in parts.items()}


@pytest.mark.parametrize("name", ["tiny_zip.pth", "tiny_legacy.pth", "tiny_wrapped.pth"])
def test_what_torch_wrote_is_read_exactly(name):
    layers = read_torch(GOLDEN / name).layers
    expected = expected_layers()
    assert list(layers) == list(expected)
    for layer, tensors in layers.items():
        assert [tensor.shape for tensor in tensors] == [array.shape for array in expected[layer]]
        assert all(map(np.array_equal, [tensor.read() for tensor in tensors], expected[layer]))


@pytest.mark.parametrize("name", ["tiny_views.pth", "tiny_views_legacy.pth"])
def test_views_parameters_and_sixteen_bits_are_read(name):
    layers, expected = read_torch(GOLDEN / name).layers, expected_layers()
    assert np.array_equal(layers["conv"][0].read(), expected["conv"][0])
    assert np.array_equal(layers["fc"][0].read(), expected["fc"][0])
    bias = layers["fc"][1].read()
    assert bias.dtype == np.float32
    assert np.abs(bias - expected["fc"][1]).max() <= np.abs(expected["fc"][1]).max() / 2**8
    for ours, theirs in zip(layers["bn"], expected["bn"], strict=True):
        assert np.array_equal(ours.read(), theirs.astype(np.float16))


@pytest.mark.parametrize("legacy", [False, True])
def test_what_the_tests_write_is_what_torch_writes(tmp_path, legacy):
    """The other tests' files are made by hand: they hold what torch's hold."""
    made.write_state_dict(tmp_path / "a.pth", tiny(), legacy=legacy)
    ours, theirs = read_torch(tmp_path / "a.pth").layers, expected_layers()
    assert list(ours) == list(theirs)
    for layer in theirs:
        assert all(map(np.array_equal, [tensor.read() for tensor in ours[layer]], theirs[layer]))


# --- Hostile pickles. Each would leave a file, if anything of it ran.


class Runs:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


def by_pickle(call, protocol=2):
    return lambda marker: pickle.dumps({"a.weight": Runs(call(marker))}, protocol)


def stack_global(module, name, marker):
    """Protocol 4: the name comes from the stack, and may have dots."""
    call = made.text(module) + made.text(name) + b"\x93" + made.text(str(marker)) + b"\x85R"
    return b"\x80\x04}" + made.text("a.weight") + call + b"s."


def built(marker):
    """An object whose state is set: `__setstate__` of what `eval` would have to be."""
    state = b"}" + made.text("__setstate__") + made.named("builtins", "eval") + b"s"
    code = made.text(f"open({str(marker)!r}, 'w')")
    return made.pickled(made.named("collections", "OrderedDict") + b")R" + state + b"b" + code + b"b")


HOSTILE = {
    "os.system": by_pickle(lambda marker: (os.system, (f"touch {marker}",))),
    "eval": by_pickle(lambda marker: (eval, (f"open({str(marker)!r}, 'w')",))),
    "open": by_pickle(lambda marker: (open, (str(marker), "w"))),
    "open, protocol 5": by_pickle(lambda marker: (open, (str(marker), "w")), 5),
    "torch.load": lambda marker: stack_global("torch", "load", marker),
    "torch.hub": lambda marker: stack_global("torch.hub", "load_state_dict_from_url", marker),
    "a dotted name": lambda marker: stack_global("collections", "OrderedDict.__init__.__globals__", marker),
    "a dotted module": lambda marker: stack_global("tlkit.models.torch_file", "Path.touch", marker),
    "what is known here": lambda marker: stack_global("torch._utils._rebuild_tensor_v2", "__call__", marker),
    "__setstate__": built,
    "getattr": lambda marker: stack_global("builtins", "getattr", marker),
    "INST": lambda marker: made.pickled(b"(" + made.text(f"touch {marker}") + b"ios\nsystem\n"),
    "OBJ": lambda marker: made.pickled(b"(cos\nsystem\n" + made.text(f"touch {marker}") + b"o"),
    "NEWOBJ": lambda marker: made.pickled(made.named("collections", "OrderedDict") + b")\x81"),
    "EXT": lambda marker: made.pickled(b"\x82\x01)R"),
    "a call of a call": lambda marker: made.pickled(made.named("collections", "OrderedDict") + b")R)R"),
    "a call of text": lambda marker: made.pickled(made.text("os.system") + b")R"),
    "an OrderedDict of pairs": lambda marker: made.pickled(made.named("collections", "OrderedDict") + b"](K\x01e\x85R"),
}


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(tmp_path, name, form):
    marker, path = tmp_path / "ran", tmp_path / "a.pth"
    content = HOSTILE[name](marker)
    if form == "zip":
        made.write_zip(path, content, {})
    else:
        path.write_bytes(content if form == "bare" else made.legacy_bytes(content, {}))
    with pytest.raises(WeightsError, match=r"a.pth is not read: .*Use a state dict that torch.save wrote"):
        read_torch(path)
    assert not marker.exists()


def test_the_hostile_pickles_are_dangerous(tmp_path):
    """Python's own unpickler does run the first of them: the test above is no empty one."""
    for name in ("os.system", "eval", "open", "open, protocol 5"):
        marker = tmp_path / name.replace(" ", "_")
        value = pickle.loads(HOSTILE[name](marker))["a.weight"]
        getattr(value, "close", lambda: None)()
        assert marker.exists()


def test_the_name_that_was_asked_for_is_said(tmp_path):
    made.write_zip(tmp_path / "a.pth", HOSTILE["eval"](tmp_path / "ran"), {})
    with pytest.raises(
        WeightsError, match=r"asks for '(__builtin__|builtins).eval', which no state dict needs: it may"
    ):
        read_torch(tmp_path / "a.pth")


# --- Sizes.

ONE = np.arange(4, dtype=np.float32)


def zipped(path, value, storages=None):
    made.write_zip(path, made.pickled(made.ordered({"a.weight": value})), storages or {"0": ONE})


def at(offset, shape, strides, count=4):
    return made.rebuilt(made.storage("FloatStorage", "0", count), offset, shape, strides)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (at(0, [5], [1]), "'a.weight' reaches beyond its storage"),
        (at(1, [4], [1]), "'a.weight' reaches beyond its storage"),
        (at(0, [2, 2], [3, 1]), "'a.weight' reaches beyond its storage"),
        (at(0, [10**12], [0]), "'a.weight' reaches beyond its storage"),
        (at(0, [2**62, 2**62], [1, 1]), "'a.weight' reaches beyond its storage"),
        (at(-1, [2], [1]), "'a.weight' is described in an unknown way"),
        (at(3, [2], [-1]), "'a.weight' is described in an unknown way"),
        (at(0, [2, 2], [1]), "'a.weight' is described in an unknown way"),
        (at(0, [1] * 9, [1] * 9), "'a.weight' is described in an unknown way"),
        (at(0, [2**70], [1]), "'a.weight' is described in an unknown way"),
        (at(0, [4], [1], count=5), "archive/data/0 has 16 bytes, not those of 5 numbers"),
        (at(0, [4], [1], count=2**62), "archive/data/0 has 16 bytes"),
        (at(0, [4], [1], count=-4), "refers to a storage in an unknown way"),
        (made.rebuilt(made.storage("FloatStorage", "1", 4), 0, [4], [1]), "lies in 'archive/data/1'"),
        (made.rebuilt(made.storage("FloatStorage", "../version", 4), 0, [4], [1]), "lies in 'archive/data/../ver"),
        (
            made.rebuilt(made.storage("ComplexFloatStorage", "0", 4), 0, [4], [1]),
            "asks for 'torch.ComplexFloatStorage'",
        ),
        (made.rebuilt(made.text("0"), 0, [4], [1]), "'a.weight' is described in an unknown way"),
        (made.rebuilt(b"K\x00Q", 0, [4], [1]), "refers to what is no storage"),
        (made.named("torch._utils", "_rebuild_tensor_v2") + b")R", "'a.weight' is described in an unknown way"),
        (made.named("torch._utils", "_rebuild_parameter") + b")R", "holds no tensors"),
        (b"N", "holds no tensors"),
    ],
)
def test_a_tensor_that_is_not_in_the_file_is_refused(tmp_path, value, message):
    zipped(tmp_path / "a.pth", value)
    with pytest.raises(WeightsError, match=message):
        read_torch(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"K\x01", "it holds no state dict"),
        (b"N" * 3, "it holds no state dict"),
        (b"", "its stack is empty"),
        (b"e", "there is no mark"),
        (b"}K\x01a", "it adds to what is no list"),
        (b"](K\x01u", "a key has no value"),
        (b"](K\x01K\x02u", "it adds to what is no dict"),
        (b"}(" + b")" * 2 + b"u", "it has a key that is neither text nor a number"),
        (b"}h\x07s", "it takes what was never kept"),
        (b"K\x01K\x02b", "it sets the state of an object"),
        (b"C\x01x", "it has the operation SHORT_BINBYTES"),
        (b"}" + b"0" * 2, "it has the operation POP"),
        (b"X\xff\xff\xff\x7fabc", "it is cut off or broken"),
        (b"X\x01\x00\x00\x00\xff", "it is cut off or broken"),
        (b"\xff", "it is cut off or broken"),
    ],
)
def test_a_broken_pickle_is_refused(tmp_path, body, message):
    made.write_zip(tmp_path / "a.pth", made.pickled(body), {})
    with pytest.raises(WeightsError, match=message):
        read_torch(tmp_path / "a.pth")


def test_a_place_in_the_memo_takes_no_memory(tmp_path):
    """`LONG_BINPUT` of a place far off makes Python's own unpickler allocate up to there."""
    body = made.ordered({"a.weight": at(0, [4], [1])}) + b"r" + struct.pack("<I", 2**32 - 1)
    made.write_zip(tmp_path / "a.pth", made.pickled(body), {"0": ONE})
    assert np.array_equal(read_torch(tmp_path / "a.pth").layers["a"][0].read(), ONE)


# Billions of empty tuples in few bytes: each of 200 tuples has the one before twice. The last two are on the stack.
LAUGHS = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(200)) + b")"


@pytest.mark.parametrize(
    "body",
    [
        b"(" * 100_000,
        b")" + b"\x85" * 100_000,
        b"](" + b"]" + b"\x94h\x00" * 3 + b"e",
        b"]" + b"q\x00h\x00\x86" * 100_000,
        b"]" + b"q\x00h\x00a" * 100_000,
        b"}(" + b")" + b"\x85" * 100_000 + b"K\x01u",
        LAUGHS + b"\x93",
        made.text("torch") + LAUGHS + b"\x93",
        LAUGHS + made.text("load") + b"\x93",
        b")" + b"\x85" * 100_000 + b")\x93",
        made.text("torch") + b")" + b"\x85" * 100_000 + b"\x93",
        made.text("torch" * 100_000) + made.text("load" * 100_000) + b"\x93",
        LAUGHS + b"R",
        LAUGHS + b"b",
        LAUGHS + b"Q",
        b"}" + LAUGHS[:-1] + b"K\x01s",
        b"}" + made.text("a") + LAUGHS[:-1] + b"s",
        b"}" + made.text("a") + LAUGHS[:-1] + b"Qs",
    ],
    ids=[
        "marks",
        "nested tuples",
        "loops",
        "doubling",
        "a list in itself",
        "a deep key",
        "a name that doubles",
        "a name that doubles in a module",
        "a module that doubles",
        "a deep module",
        "a deep name",
        "long names",
        "a call that doubles",
        "a state that doubles",
        "a storage that doubles",
        "a key that doubles",
        "a value that doubles",
        "a value of a storage that doubles",
    ],
)
def test_deep_and_doubled_structures_end_in_a_message(tmp_path, body):
    made.write_zip(tmp_path / "a.pth", made.pickled(body), {})
    with pytest.raises(WeightsError, match="a.pth is not read"):
        read_torch(tmp_path / "a.pth")


def test_a_pickle_of_endless_operations_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("tlkit.models.torch_pickle.MAX_OPERATIONS", 1000)
    made.write_zip(tmp_path / "a.pth", made.pickled(b"N" * 1001), {})
    with pytest.raises(WeightsError, match="it is too long for a state dict"):
        read_torch(tmp_path / "a.pth")
    monkeypatch.setattr(torch_file, "MAX_BYTES", 1000)
    with pytest.raises(WeightsError, match="its data.pkl is too long for a state dict"):
        read_torch(tmp_path / "a.pth")


# --- Files that are cut off, or lie about what is in them.


@pytest.mark.parametrize("name", ["tiny_zip.pth", "tiny_legacy.pth"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, name):
    whole = (GOLDEN / name).read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        (tmp_path / "a.pth").write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"a.pth (is not read|is cut off)"):
            read_torch(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["tiny_zip.pth", "tiny_legacy.pth"])
def test_any_flipped_byte_gives_numbers_or_a_message(tmp_path, name):
    whole = bytearray((GOLDEN / name).read_bytes())
    for place in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 7 | 0x80
        (tmp_path / "a.pth").write_bytes(broken)
        try:
            for tensors in read_torch(tmp_path / "a.pth").layers.values():
                assert all(tensor.read().shape == tensor.shape for tensor in tensors)
        except WeightsError as err:
            assert str(err).startswith("a.pth ")


def rewritten(source, target, change):
    """Copies a zip archive, with its directory changed."""
    shutil.copy(source, target)
    with zipfile.ZipFile(target, "a") as archive:
        info = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
        change(info)
        archive.comment = b"x"  # the directory is written anew


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: setattr(info, "file_size", 10**10), "data/0' is compressed"),
        (
            lambda info: (setattr(info, "file_size", 10**6), setattr(info, "compress_size", 10**6)),
            "data/0' is longer than the file",
        ),
        (
            lambda info: setattr(info, "header_offset", info.header_offset + 1),
            "data/0' is not where its directory says",
        ),
        (
            lambda info: setattr(info, "header_offset", 10**6),
            "data/0' is not where its directory says|cut off or broken",
        ),
    ],
)
def test_zip_entries_that_lie_are_refused(tmp_path, change, message):
    rewritten(GOLDEN / "tiny_zip.pth", tmp_path / "a.pth", change)
    with pytest.raises(WeightsError, match=message):
        read_torch(tmp_path / "a.pth")


def test_other_zip_archives_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    made.write_zip(path, made.pickled(b"}"), {}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="is compressed, which torch.save never does"):
        read_torch(path)
    for names, message in (
        (["a/readme"], "a zip archive, but not one of torch.save"),
        (["a/data.pkl", "b/data.pkl"], "a zip archive, but not one of torch.save"),
        (["a/data.pkl", "a/constants.pkl"], "it is a TorchScript program"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        with pytest.raises(WeightsError, match=message):
            read_torch(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", made.pickled(b"}"))
        archive.writestr("a/byteorder", "big")
    with pytest.raises(WeightsError, match="its numbers are not little-endian"):
        read_torch(path)


def test_other_rows_of_pickles_are_refused(tmp_path):
    path, state = tmp_path / "a.pth", made.ordered({"a.weight": made.tensor(ONE, "0", legacy=True)})
    good = made.legacy_bytes(made.pickled(state), {"0": ONE})
    path.write_bytes(good)
    assert np.array_equal(read_torch(path).layers["a"][0].read(), ONE)
    for content, message in (
        (made.pickled(b"K\x01"), "a pickle, but not one of torch.save"),
        (made.pickled(made.number(made.MAGIC)) + made.pickled(b"K\x01"), "of an unknown version of torch.save"),
        (made.legacy_bytes(made.pickled(state), {"0": ONE}, little=b"\x89"), "its numbers are not little-endian"),
        (made.legacy_bytes(made.pickled(state), {"0": ONE, "1": ONE}), "no tensor lies in its storage '1'"),
        (made.legacy_bytes(made.pickled(state), {}), "lies in the storage '0', which it does not have"),
        (made.legacy_bytes(made.pickled(state), {"0": ONE[:3]}), "lies in the storage '0', which it does not have"),
        (good[:-1], "its storage '0' is longer than the file"),
        (good[:-24] + struct.pack("<Q", 2**63) + good[-16:], "its storage '0' is longer than the file"),
        (good[:-24], "it is cut off"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_torch(path)
