"""What must be known about an architecture and its weights before anything is built. Imports nothing heavy."""

import importlib
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

Head = Literal["gap", "original"]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy on ImageNet, in fractions.

    Attributes:
        top1, top5: None is not stated.
        source: Where it is stated, and what it was measured on.
        one_crop: Whether it is of one network that sees each photo once, as a deployed one does. Averages over several
            networks, crops, positions or mirror images flatter.
    """

    top1: float | None
    top5: float | None
    source: str
    one_crop: bool = True


@dataclass(frozen=True, kw_only=True)
class Published:
    """ImageNet weights that somebody publishes.

    Attributes:
        url: Of the file; `{size}`, `{width}` and `{top}` stand for what differs between its variants.
        source: The constructor that it is for, such as `keras.applications.VGG16`.
        licence: Of the weights, as their publisher states it.
        sizes: Input sizes that have a file of their own, in pixels; another size takes the last one's.
        widths: How the url writes the width multipliers that have a file; empty where there is but one network.
        top_suffix, no_top_suffix: What `{top}` becomes with and without the classifier; the same where there is one
            file for both.
        md5: Of the files, by their names, where the publisher states it.
        sha256: Likewise; a prefix where only that is stated.
        megabytes: Size of the file with the classifier, in 10^6 bytes, of the default width at the last of `sizes`;
            None where nobody states it.
        accuracy: Of these very weights, as their publisher states it.
    """

    url: str
    source: str
    licence: str
    sizes: tuple[int, ...] = (224,)
    widths: dict[float, str] = field(default_factory=dict)
    top_suffix: str = ""
    no_top_suffix: str = ""
    md5: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    megabytes: float | None = None
    accuracy: Accuracy


@dataclass(frozen=True, kw_only=True)
class Auxiliaries:
    """Auxiliary classifiers, which a builder adds when it is given `auxiliaries=True`.

    Attributes:
        loss_weight: Of each one's cross-entropy in the loss.
        stage: The first that one sits on; they help where it is trained.
        min_input_size: The smallest side that leaves them something to pool, in pixels.
    """

    loss_weight: float
    stage: str
    min_input_size: int


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
        trainable_params: Those that are trained, where there are others (statistics of batch normalization).
        macs: Multiply-accumulates of one image of `input_size` with the original head, at `params_classes` classes.
        depth: Convolutions and fully connected layers on the longest way through.
        stages: Layer-name prefixes from input to output, the units of freezing; the head is not among them.
        head: The head that transfer takes by default.
        fully_connected: Whether the original head is fully connected and so bound to the original input size.
        deep_head: Whether an original head that is not bound so has hidden layers all the same.
        width_multiplier: Whether the builder takes one.
        auxiliaries: Those of the paper, if it has any.
        accuracy: On ImageNet as the paper states it.
        published: ImageNet weights, if there are any.
        origins: Whose weights fit: keys of the family's `ORIGINS`.
        verified: Targets and precisions that a test exports and proves, such as `tflite float32`.
        foreign: Where it comes from if not from the table: `keras` is a constructor of keras.applications, `file` a
            user's own model. It has no original head, and its stages were found from its graph (`bases.py`).
        remarks: What a user should know of it before it trains, in sentences without a full stop.
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
    trainable_params: int | None = None
    macs: int | None = None
    depth: int | None = None
    stages: tuple[str, ...]
    head: Head = "gap"
    fully_connected: bool = True
    deep_head: bool = False
    width_multiplier: bool = False
    auxiliaries: Auxiliaries | None = None
    accuracy: Accuracy | None = None
    published: Published | None = None
    origins: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    foreign: Literal["keras", "file"] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def module(self) -> ModuleType:
        """The family's module. Imports Keras."""
        return importlib.import_module(f"tlkit.models.{self.family}")

    @property
    def published_accuracy(self) -> Accuracy | None:
        """Accuracy of the weights that are offered."""
        return self.published.accuracy if self.published else None

    def smallest(self, head: Head) -> int:
        """Returns the smallest input size with that head, in pixels."""
        return self.input_size if head == "original" and self.fully_connected else self.min_input_size

    def takes_top(self, head: Head) -> bool:
        """Whether that head is pretrained too: the published file with the classifier is the one to take."""
        return head == "original" and (self.fully_connected or self.deep_head)
