"""The keyword arguments of the Python face, named and typed so that editors complete them and type checkers hold them.

`tests/test_api.py` holds that they are the fields of the options that the command line takes too.
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from tlkit.models.architecture import Head


class FinetuneKeywords(TypedDict, total=False):
    """What can be chosen about a fine-tuning. What is left out, or None, becomes what suits the rest.

    Attributes:
        weights: `imagenet`, `none`, or a `.h5`, `.keras`, `.pth` or `.safetensors` file; imagenet where there are any.
        freeze: `all-but-head`, `none`, `up-to:STAGE`, `last:N`, `gradual[:EPOCHS]`, `head-then:STRATEGY`, or `auto`,
            which decides by the photos and is the default with pretrained weights.
        head: `gap` (pooling and one layer) or `original` (the paper's, at its own input size).
        epochs: Passes over the training photos, at most, of all phases together.
        batch_size: Photos in a step.
        learning_rate: Of Adam, after its warm-up; a cosine takes it to 0. `auto`: found by a sweep before each phase.
        input_size: Side of the square input in pixels.
        dropout: Share of the features that is dropped before the last layer, in [0, 1).
        seed: Of split, initial weights, order and dropout.
        patience: Epochs without a smaller validation loss before a phase ends; 0 never ends it early.
        class_weight: `auto` weighs classes inversely to their frequency in the loss.
        name: Of the run's folder; `<time>-<base>-<data>` when None.
        runs: Folder in which run folders are made.
        strict: Whether a file that can't be used is an error.
        cache: Whether what is frozen is computed once.
        augment: `none`, `light` or `strong`.
        views: Changed versions of each photo.
        width: Width multiplier, where the architecture takes one.
        base_input: What a base that is a file takes: `0..255`, `0..1`, `-1..1`, `torch` or `caffe`.
        layer_decay: Factor of the learning rate from one stage to the one before it, in (0, 1].
        batch_norm: `frozen`, or `train`, with which nothing can be cached.
        weight_decay: Of kernels alone, times the learning rate, in [0, 1]; 0.01 when None.
        label_smoothing: Share of each label that is spread over all classes, in [0, 1).
        mix: `mixup` or `cutmix` photos of a batch in pairs, or `none`.
        ema: Decay of the moving average of the weights that is validated and kept, in [0, 1); 0 keeps the weights.
        sampling: `balanced` draws every class equally often, `natural` every photo once an epoch.
        max_thaw_drop: Validation accuracy, in [0, 1], that the first epoch of thawed stages may lose, beyond chance.
        decode: `full`, or `scaled`, which reads large JPEG photos at a fraction of their size.
        parent_data: Where the photos of `parent` are now, if they have moved.
        head_width: Units of a hidden layer of the head `gap`; 0 for none.
        head_learning_rate: Of phases that train the head alone; that of all phases when None.
        head_weight_decay: Likewise.
        tune: How many settings of the head to try before training; None tries none.
        precision: `float32`, `mixed_float16` or `mixed_bfloat16` in training; `auto` takes what the chip is fast in.
        devices: How many GPUs share each batch, or `all`.
        multi_label: Whether a photo may have any number of labels; `data` is a table then.
    """

    weights: str | Path | None
    freeze: str | None
    head: "Head | None"
    epochs: int | None
    batch_size: int
    learning_rate: float | Literal["auto"] | None
    input_size: int | None
    dropout: float | None
    seed: int
    patience: int | None
    class_weight: Literal["auto", "none"]
    name: str | None
    runs: str | Path
    strict: bool
    cache: bool
    augment: str | None
    views: int | None
    width: float | None
    base_input: str | None
    layer_decay: float
    batch_norm: Literal["frozen", "train"] | None
    weight_decay: float | None
    label_smoothing: float | None
    mix: Literal["none", "mixup", "cutmix"]
    ema: float
    sampling: Literal["natural", "balanced"]
    max_thaw_drop: float
    decode: Literal["full", "scaled"]
    parent_data: str | Path | None
    head_width: int | None
    head_learning_rate: float | None
    head_weight_decay: float | None
    tune: int | None
    precision: str
    devices: int | str
    multi_label: bool


class ExportKeywords(TypedDict, total=False):
    """What can be chosen about an export.

    Attributes:
        data: Where the run's photos are now, if they have moved.
        calibration: Photos of the training split for calibration, at most; 200 when None.
        min_agreement: Share of photos, in [0, 1], on which the artifact must agree with the model; recorded.
        max_drop: Accuracy, in [0, 1], that the artifact may lose; recorded.
    """

    data: str | Path | None
    calibration: int | None
    min_agreement: float | None
    max_drop: float | None


class BuildKeywords(TypedDict, total=False):
    """More arguments of builders; an architecture takes those that it has.

    Attributes:
        dropout: Share of the features that is dropped before the last layers, in [0, 1).
        width_multiplier: Of the MobileNets: factor of the channels of every layer.
        filters: Of LeNet: channels of its two convolutions.
        grey: Of LeNet: whether it sees grey values, or RGB.
        padding: Of LeNet's first convolution: `same`, or `valid`.
        activation: Of LeNet: `sigmoid`, `tanh` or `relu`.
        pooling: Of LeNet: `average` or `max`.
        activate_after_pooling: Of LeNet: whether the activation follows the pooling.
        variant: Of AlexNet: `2012` or `2014`.
        groups: Of AlexNet: 2 as in the paper, on two GPUs, or 1.
        local_response_norm: Of AlexNet: whether it has the paper's.
        normalization: Of AlexNet, VGG and ResNet: scale and offset of RGB in [0, 255], each one number or three.
        shortcut: Of the ResNets, where shapes differ: `B` projects, `A` pads channels with zeros; None builds the plain
            network.
        stride_on_3x3: Of the ResNets with bottlenecks: whether the 3x3 convolution has the stride (v1.5).
        zero_last_gamma: Of the ResNets: whether each block starts as its shortcut alone.
        epsilon: Of the ResNets' batch norms.
        batch_norm: Of GoogLeNet: whether convolutions have one.
        auxiliaries: Of GoogLeNet: whether it has its auxiliary classifiers, behind the logits.
        base_input: What `PATH.keras` takes, where nothing in it shows that.
    """

    dropout: float
    width_multiplier: float
    filters: tuple[int, int] | None
    grey: bool
    padding: str
    activation: str
    pooling: str
    activate_after_pooling: bool
    variant: str
    groups: int
    local_response_norm: bool
    normalization: tuple[float | tuple[float, ...], float | tuple[float, ...]]
    shortcut: str | None
    stride_on_3x3: bool
    zero_last_gamma: bool
    epsilon: float
    batch_norm: bool
    auxiliaries: bool
    base_input: str | None


def with_signature(keywords: type, options: type | None = None) -> Callable[[Any], Any]:
    """Makes `**options` of a function show as the keyword arguments that they are, where code is completed at run time.

    Args:
        keywords: A TypedDict.
        options: The dataclass that holds the defaults.
    """
    known = {field.name: field.default for field in fields(options)} if options is not None else {}

    def decorate(function: Any) -> Any:  # noqa: ANN401
        shown = inspect.signature(function)
        own = [p for p in shown.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if (default := known.get(name)) is MISSING else default,
                annotation=annotation,
            )
            for name, annotation in keywords.__annotations__.items()
        ]
        function.__signature__ = shown.replace(parameters=[*own, *added])
        return function

    return decorate
