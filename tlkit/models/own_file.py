"""Whether a file that was saved from a network of ours is for the network at hand: same names, yet another variant.

Shapes alone don't tell: a stride, a padding, an activation or a layer without weights changes what is computed.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator

import keras

from tlkit.errors import OptionError, some
from tlkit.models import registry
from tlkit.models.architecture import Architecture
from tlkit.models.skeleton import skeleton
from tlkit.models.tensors import Described, described

_BACKBONE = re.compile(r"(stem|stage\d+|input_grey)(_|$)")
# What a layer's config says of what it computes; the number of its filters is in the weights' shapes.
_COMPUTED = """kernel_size strides padding dilation_rate groups depth_multiplier pool_size activation epsilon axis
keepdims depth_radius bias alpha beta scale offset negative_slope max_value threshold approximate""".split()
_HEADS = ("head_fc", "head_fc1", "head_fc2", "head_logits")
_AUTOMATIC = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")


def surplus(file_layers: Iterable[str], names: dict[str, str], name_of: Callable[[str], str] | None) -> list[str]:
    """Lists the layers of a backbone that a file has and our model has not.

    Args:
        file_layers: The names of the layers with weights, as the file has them.
        names: Our backbone's names, with the file's.
        name_of: How the publisher calls a layer of ours; None for files of ours.
    """
    if name_of is None:
        return [name for name in file_layers if _BACKBONE.match(name) and name not in names.values()]
    known = set(names.values()) | {name_of(f"{head}{end}") for head in _HEADS for end in ("", "_bn")}
    # Names like those of the backbone, but for their numbers. Keras' automatic ones may be those of any layer.
    shapes = {re.sub(r"\d+", r"\\d+", re.escape(name)) for name in names.values() if not _AUTOMATIC.fullmatch(name)}
    like = re.compile("|".join(sorted(shapes)) or "(?!)")
    return [name for name in file_layers if name not in known and like.fullmatch(name)]


def ranked(file_layers: Iterable[str]) -> dict[str, str]:
    """Numbers Keras' automatic names from 0, in their order: what was built before in a session shifts them.

    Returns:
        From `conv2d_3` to what the file calls its fourth convolution, such as `conv2d_97`; likewise for batch norms.
    """
    kinds: dict[str, list[tuple[int, str]]] = {}
    for name in file_layers:
        if match := _AUTOMATIC.fullmatch(name):
            kinds.setdefault(match[1], []).append((int(match[2] or 0), name))
    return {
        f"{kind}_{i}" if i else kind: name for kind, found in kinds.items() for i, (_, name) in enumerate(sorted(found))
    }


def misfit(model: keras.Model, architecture: Architecture, saved: Described) -> str | None:
    """Says how the network that a `.keras` file of ours was saved from differs, and what to do; None if it does not."""
    differences = _differences(saved, _at_size_of(saved, model, architecture), architecture.foreign is not None)
    first = next(differences, None)
    if first is None:
        return None
    more = sum(1 for _ in differences)
    takers = [
        one.name
        for one in registry.ARCHITECTURES
        if not architecture.foreign and one.family == architecture.family and one.name != architecture.name
        if not any(_differences(saved, _described(skeleton(one.name, classes=2, head="gap")), foreign=False))
    ]
    advice = f"Use --base {takers[0]}." if takers else "Check --base and --weights."
    return f"{first}{f' (and {more} more)' if more else ''}. {advice}"


def _at_size_of(saved: Described, model: keras.Model, architecture: Architecture) -> Described:
    """Describes a network as it would be at the input size that a file was saved at: some paddings depend on it."""
    here = _described(model)
    shape = saved.get("input_image", ("", {}))[1].get("batch_shape")
    size = shape[1] if isinstance(shape, list) and len(shape) == 4 else None
    if architecture.foreign is not None or not isinstance(size, int) or size == model.input.shape[1]:
        return here
    try:
        there, ours = (
            _described(skeleton(architecture.name, classes=2, head="gap", input_size=one))
            for one in (size, model.input.shape[1])
        )
    except OptionError:  # a size that this architecture can't have
        return here
    found = {name: one for name, one in here.items() if name in there or name not in ours}
    for name, (kind, config) in there.items():
        if name not in ours:
            found[name] = kind, config
        elif name in found and config.get("padding") != ours[name][1].get("padding"):
            found[name] = found[name][0], {**found[name][1], "padding": config["padding"]}
    return found


def _described(model: keras.Model) -> Described:
    return described(json.loads(model.to_json()))


def _differences(there: Described, here: Described, foreign: bool) -> Iterator[str]:
    """Yields in words what the backbones of two networks compute otherwise."""
    there, here = ({name: one for name, one in net.items() if _BACKBONE.match(name)} for net in (there, here))
    alike = [name for name in here if name in there and there[name][0] == here[name][0]]
    for key in _COMPUTED:
        for name in alike:
            (kind, ours), (_, theirs) = here[name], there[name]
            # keras.applications pads by what the input size needs; sizes may differ.
            if key not in ours or key not in theirs or (foreign and kind == "ZeroPadding2D"):
                continue
            if ours[key] != theirs[key]:
                yield f"{name} has {key} {_text(theirs[key])} there, {_text(ours[key])} here"
    for name in here:
        if name in there and name not in alike:
            yield f"{name} is a {there[name][0][:60]} there, a {here[name][0]} here"
    if lacking := [name for name in here if name not in there]:
        yield f"it has no {some(lacking, 3)}"
    if lacking := [name[:60] for name in there if name not in here]:
        yield f"it has {some(lacking, 3)}, which {'are' if lacking[1:] else 'is'} not here"


def _text(value: object) -> str:
    return str(tuple(value) if isinstance(value, list) else value)[:60]
