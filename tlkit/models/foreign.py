"""Bases that others made, as architectures: constructors of keras.applications, and models in `.keras` files.

They are built without their classifier; their layers get the names of the stages that are found in their graph, our
input and normalization come before them and our head behind. So freezing, caching and export treat them as ours.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
from keras import layers

from tlkit.errors import BaseError, OptionError
from tlkit.manifest import sha256_of
from tlkit.models import blocks, constructors, graph, own_model, stages
from tlkit.models.architecture import Architecture
from tlkit.models.bases import BASE_INPUTS, BGR, PREFIX
from tlkit.models.graph import Call, Graph, GraphError
from tlkit.models.origins import Normalization

_DEFAULT_SIZE = 224  # of a file whose model takes any, in pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """A foreign model and what was found in it.

    Attributes:
        original: As its maker built it, without what is behind the last feature map only if it is a constructor's.
        body: Its graph up to the last feature map.
        names: Our name of the layer of every call.
        stages: From input to output.
        normalization: From RGB in [0, 255] to what the original takes.
        bgr: Whether it takes blue first.
        first: The convolutions that see the image, in our names; their kernels are reversed for `bgr`.
        remarks: For the user.
        size: Side of the square input that it was measured with, in pixels.
    """

    original: keras.Model
    body: Graph
    names: dict[Call, str]
    stages: tuple[str, ...]
    normalization: Normalization
    bgr: bool
    first: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    size: int


# A base is looked at when a training is planned and again when its model is built and gets its weights: the last one is
# kept from the first to the last of them. Its weights are as large as the model's own.
_kept: dict[tuple[str, ...], Found] = {}


def forget() -> None:
    """Frees what was kept of the last base, with its weights."""
    _kept.clear()


def of_keras(base: str, *, input_size: int | None, smallest: bool) -> Architecture:
    """Returns `keras:NAME` as an architecture; see `bases.find`."""
    default, least = constructors.sizes(base.removeprefix(PREFIX))
    size = input_size or (least if smallest else default)
    found = _of_keras(base, size)
    return _architecture(base, found, kind="keras", default=default, least=least, options={"base": base})


def of_file(base: str, *, input_size: int | None, base_input: str | None) -> Architecture:
    """Returns a `.keras` file as an architecture; see `bases.find`."""
    path = Path(base).expanduser().absolute()
    own_model.check(path)
    options = {"base": str(path), "base_input": base_input, "sha256": sha256_of(path)}
    found = _of_file(str(path), base_input, str(options["sha256"]), input_size)
    default = own_model.input_size(found.original) or _DEFAULT_SIZE
    return _architecture(path.name, found, kind="file", default=default, least=1, options=options)


def _architecture(
    name: str, found: Found, *, kind: Literal["keras", "file"], default: int, least: int, options: dict[str, Any]
) -> Architecture:
    return Architecture(
        name=name,
        title=name.removeprefix(PREFIX),
        family="foreign",
        builder="foreign",
        options=options,
        paper="",
        input_size=default,
        min_input_size=least,
        params=found.original.count_params(),
        stages=found.stages,
        fully_connected=False,
        foreign=kind,
        remarks=found.remarks,
    )


def _of_keras(base: str, size: int) -> Found:
    return _once((base,), size, lambda: _read_keras(base, size))


def _of_file(base: str, base_input: str | None, sha256: str, size: int | None) -> Found:
    return _once((base, base_input or "", sha256), size, lambda: _read_file(Path(base), base_input, size))


def _once(key: tuple[str, ...], size: int | None, read: Callable[[], Found]) -> Found:
    """Returns what is kept, if it is of that base and (where one is given) that size; else reads and keeps it."""
    found = _kept.get(key)
    if found is None or size not in (None, found.size):
        _kept.clear()
        found = _kept[key] = read()
    return found


def _read_keras(base: str, size: int) -> Found:
    name = base.removeprefix(PREFIX)
    original = constructors.build(name, size)
    normalization, bgr = constructors.preprocessing(name)
    try:
        return _found(original, graph.flat(original), size, normalization, bgr)
    except GraphError as err:
        raise BaseError(f"{base} {err}.") from err


def _read_file(path: Path, base_input: str | None, size: int | None) -> Found:
    original = own_model.load(path)
    try:
        body = graph.flat(original)
        size = size or own_model.input_size(original) or _DEFAULT_SIZE
        graph.measure(body, size)
        removed = stages.cut_head(body)
        base_input = _input_of(body, base_input, path)
        remarks = [f"{path.name}: the classifier is replaced, that is {', '.join(removed)}"] if removed else []
        if body.dropped:
            left_out = ", ".join(body.dropped)
            remarks.append(f"{path.name}: its random augmentation is left out ({left_out}); --augment is tlkit's own")
        return _found(original, body, size, BASE_INPUTS[base_input], base_input == BGR, tuple(remarks))
    except GraphError as err:
        raise BaseError(f"{path} {err}.") from err


def _input_of(body: Graph, given: str | None, path: Path) -> str:
    """Returns what the input of a file's model takes, by its graph or else as it was given."""
    shown = own_model.input_of(body)
    if shown is None and given is None:
        raise OptionError(
            f"{path} does not say what its input takes: it begins with no Rescaling or Normalization that shows "
            f"it. Say what it was trained on with --base-input, one of: {', '.join(BASE_INPUTS)}."
        )
    if shown is not None and given not in (None, shown):
        raise OptionError(
            f"--base-input {given} contradicts {path}: the model normalizes {shown} itself, and so it would be done "
            "twice. Leave --base-input out."
        )
    return shown or given or ""


def _found(
    original: keras.Model,
    body: Graph,
    size: int,
    normalization: Normalization,
    bgr: bool,
    remarks: tuple[str, ...] = (),
) -> Found:
    graph.measure(body, size)
    ends = stages.stage_ends(body)
    names = stages.names_of(body, ends)
    return Found(
        original=original,
        body=body,
        names=names,
        stages=tuple(f"stage{i}" for i in range(1, len(ends) + 1)),
        normalization=normalization,
        bgr=bgr,
        first=tuple(names[call] for call in stages.first_convolutions(body)) if bgr else (),
        remarks=remarks,
        size=size,
    )


def found_of(architecture: Architecture, input_size: int) -> Found:
    """Returns what was found in a foreign architecture, at an input size in pixels."""
    if architecture.foreign == "file":
        return _of_file(**architecture.options, size=input_size)
    return _of_keras(architecture.options["base"], input_size)


def foreign(
    *,
    base: str,
    classes: int,
    input_size: int,
    head: str = "gap",
    dropout: float = 0.2,
    base_input: str | None = None,
    sha256: str | None = None,
) -> keras.Model:
    """Builds a foreign base with random weights and our head.

    Args:
        base: `keras:NAME`, or the absolute path of a `.keras` file.
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels.
        head: `gap`; there is no other.
        dropout: Before the last layer.
        base_input, sha256: Of a file: what its input takes, and its contents.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits. Layers are named
        by stage. A kernel that takes blue first is reversed when weights are loaded, so this takes RGB.

    Raises:
        BaseError: a layer can't be made again from its config.
    """
    if sha256 is None:
        found = _of_keras(base, input_size)
    else:
        found = _of_file(base, base_input, sha256, input_size)
    image, x = blocks.image_input(input_size, found.normalization)
    try:
        x = graph.rebuild(found.body, x, found.names)
    except GraphError as err:
        raise BaseError(f"{base} {err}.") from err
    if not isinstance(found.body.calls[-1].operation, layers.Layer):
        x = layers.Activation("linear", name=f"{found.stages[-1]}_output")(x)  # a model can be cut behind layers alone
    name = re.sub(r"^[^A-Za-z]+", "", stages.clean(Path(base.removeprefix(PREFIX)).stem)) or "base"
    model = keras.Model(image, blocks.gap_head(x, classes, dropout), name=name)
    if sha256 is not None:
        _normalize(model, found)
    return model


def _normalize(model: keras.Model, found: Found) -> None:
    """Carries over what a model's own normalization was adapted to: it belongs to the graph, not to the weights."""
    for call, name in found.names.items():
        if isinstance(call.operation, layers.Normalization) and call.has_state:
            layer = model.get_layer(name)
            layer.set_weights(call.operation.get_weights())
            layer.finalize_state()  # it computes with what is made of its weights, not with these
