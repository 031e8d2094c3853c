"""Every architecture by name: a literal table that imports nothing heavy.

A family's file is imported when a model of it is built. Every family with published weights has, beside its builder,
`published_name(layer) -> str` (the layer's name in the published file) and `variant_of(shapes) -> str | None` (what a
file of other shapes holds, for the error message).
"""

import importlib
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from tlkit.errors import OptionError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    import keras

Head = Literal["gap", "original"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """ImageNet weights that `keras.applications` publishes.

    Attributes:
        url: Of the file; `{size}` and `{top}` stand for what differs between its variants.
        sizes: Input sizes that have a file of their own, in pixels; another size takes the last one's.
        top_suffix, no_top_suffix: What `{top}` becomes with and without the classifier.
        channel_order: Of the first kernel; `bgr` kernels are reversed when they are loaded.
        md5: Of the files, by `{top}`, where Keras publishes it.
        source: The Keras constructor.
    """

    url: str
    source: str
    sizes: tuple[int, ...] = (224,)
    top_suffix: str = ""
    no_top_suffix: str
    channel_order: Literal["rgb", "bgr"] = "rgb"
    md5: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What must be known about an architecture before it is built.

    Attributes:
        name: As given to `--base`.
        title: As the field writes it.
        family: The module in `tlkit.models`.
        builder: The function in that module.
        options: Its arguments for this architecture.
        paper: arXiv id or DOI.
        input_size: Side of the training crop, in pixels.
        min_input_size: Smallest side that a head with global average pooling can take, in pixels.
        params: Parameters at `params_classes` classes with the original head.
        stages: Layer-name prefixes from input to output, the units of freezing; the head is not among them.
        head: The head that transfer takes by default.
        fully_connected: Whether the original head is fully connected and so bound to the original input size.
        published: ImageNet weights, if there are any.
    """

    name: str
    title: str
    family: str
    builder: str
    options: dict[str, Any] = field(default_factory=dict)
    paper: str
    input_size: int
    min_input_size: int
    params: int
    params_classes: int = 1000
    stages: tuple[str, ...]
    head: Head = "gap"
    fully_connected: bool = True
    published: Published | None = None

    @property
    def module(self) -> ModuleType:
        """The family's module. Imports Keras."""
        return importlib.import_module(f"tlkit.models.{self.family}")

    def smallest(self, head: Head) -> int:
        """Returns the smallest input size with that head, in pixels."""
        return self.input_size if head == "original" and self.fully_connected else self.min_input_size

    def takes_top(self, head: Head) -> bool:
        """Whether that head is pretrained too: the published file with the classifier is the one to take."""
        return head == "original" and self.fully_connected


def stages(first: int, last: int, *before: str) -> tuple[str, ...]:
    """Names stages: `stages(1, 2, "stem")` is `("stem", "stage1", "stage2")`."""
    return (*before, *(f"stage{i}" for i in range(first, last + 1)))


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

ARCHITECTURES = (
    Architecture(
        name="lenet5",
        title="LeNet-5",
        family="lenet",
        builder="lenet5",
        paper="doi:10.1109/5.726791",
        input_size=28,
        min_input_size=12,
        params=61_706,
        params_classes=10,
        stages=stages(1, 2),
        head="original",  # pooling its 5x5 maps away would leave 16 numbers
    ),
    Architecture(
        name="vgg16",
        title="VGG-16",
        family="vgg",
        builder="vgg",
        options={"depth": 16},
        paper="arXiv:1409.1556",
        input_size=224,
        min_input_size=32,
        params=138_357_544,
        stages=stages(1, 5),
        published=Published(
            url=f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels{{top}}.h5",
            source="keras.applications.VGG16",
            no_top_suffix="_notop",
            channel_order="bgr",
            md5={"": "64373286793e3c8b2b4e3219cbf3544b", "_notop": "6d6bbae143d832006294945121d1f1fc"},
        ),
    ),
    Architecture(
        name="mobilenet_v2",
        title="MobileNetV2",
        family="mobilenet_v2",
        builder="mobilenet_v2",
        paper="arXiv:1801.04381",
        input_size=224,
        min_input_size=32,
        params=3_538_984,
        stages=stages(1, 5, "stem"),
        fully_connected=False,
        published=Published(
            url=f"{_KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{{size}}{{top}}.h5",
            source="keras.applications.MobileNetV2",
            sizes=(96, 128, 160, 192, 224),
            no_top_suffix="_no_top",
        ),
    ),
)

_BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}


def find(name: str) -> Architecture:
    """Returns the architecture called `name`.

    Raises:
        UnknownNameError: there is none; the message names close ones.
    """
    if name not in _BY_NAME:
        raise UnknownNameError(
            f"There is no architecture called {name!r}.{did_you_mean(name, _BY_NAME)} List them all with: tlkit models"
        )
    return _BY_NAME[name]


def check_input_size(architecture: Architecture, head: Head, input_size: int) -> None:
    """Checks that an architecture can take an input size with a head.

    Raises:
        OptionError: it is too small, or the original head needs the original size.
    """
    name, original = architecture.name, architecture.input_size
    if head == "original" and architecture.fully_connected and input_size != original:
        raise OptionError(
            f"{name} with its original head takes {original} pixels only, not {input_size}: "
            "its fully connected layers fit no other size. Leave --input-size out, or use --head gap."
        )
    if input_size < architecture.min_input_size:
        raise OptionError(
            f"{name} needs an input of at least {architecture.min_input_size} pixels, not {input_size}: "
            "its stages halve the map until nothing would be left. Use a larger --input-size."
        )


def build(
    name: str,
    *,
    classes: int = 1000,
    input_size: int | None = None,
    head: Head = "original",
    **options: Any,  # noqa: ANN401
) -> "keras.Model":
    """Builds an architecture with random weights.

    Args:
        name: One of `tlkit models`.
        classes: Width of the final layer.
        input_size: Side of the square input in pixels; the paper's when None.
        head: `original` or `gap` (global average pooling, dropout, one Dense).
        **options: More arguments of the family's builder, such as `dropout` or `width_multiplier`.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        UnknownNameError: no such architecture.
        OptionError: the input size does not fit.
    """
    architecture = find(name)
    size = architecture.input_size if input_size is None else input_size
    check_input_size(architecture, head, size)
    builder = getattr(architecture.module, architecture.builder)
    return builder(classes=classes, input_size=size, head=head, **{**architecture.options, **options})
