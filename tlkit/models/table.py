"""Every architecture: a literal table, in the order of the lectures. Every number in it is held by a test."""

from typing import Any

from tlkit.models import published
from tlkit.models.accuracies import ACCURACIES
from tlkit.models.architecture import Architecture, Auxiliaries
from tlkit.models.counts import COUNTS
from tlkit.models.origins import CENTRED, STANDARDIZED


def stages(first: int, last: int, *before: str) -> tuple[str, ...]:
    """Names stages: `stages(1, 2, "stem")` is `("stem", "stage1", "stage2")`."""
    return (*before, *(f"stage{i}" for i in range(first, last + 1)))


# What the entries of a family have in common.
_LENET: dict[str, Any] = {
    "family": "lenet",
    "builder": "lenet5",
    "paper": "doi:10.1109/5.726791",
    "params_classes": 10,
    "stages": stages(1, 2),
    "head": "original",  # pooling its 5x5 maps away would leave 16 numbers
}
_ALEXNET: dict[str, Any] = {"family": "alexnet", "builder": "alexnet", "stages": stages(1, 3)}
_VGG: dict[str, Any] = {
    "family": "vgg",
    "builder": "vgg",
    "paper": "arXiv:1409.1556",
    "input_size": 224,
    "min_input_size": 32,
    "stages": stages(1, 5),
}
_RESNET: dict[str, Any] = {
    "family": "resnet",
    "builder": "resnet",
    "paper": "arXiv:1512.03385",
    "input_size": 224,
    "min_input_size": 32,
    "stages": stages(2, 5, "stem"),
    "fully_connected": False,
}
# Keras' weights of ResNets: strides on the first 1x1, and how they were trained.
_KERAS_RESNET: dict[str, Any] = {"normalization": CENTRED, "epsilon": 1.001e-5}

_GOOGLENET: dict[str, Any] = {
    "family": "googlenet",
    "builder": "googlenet",
    "paper": "arXiv:1409.4842",
    "input_size": 224,
    "stages": stages(3, 5, "stem"),
    "fully_connected": False,
}
_MOBILENET: dict[str, Any] = {
    "input_size": 224,
    "min_input_size": 32,
    "fully_connected": False,
    "width_multiplier": True,
}
_MOBILENET_V3: dict[str, Any] = {
    **_MOBILENET,
    "family": "mobilenet_v3",
    "builder": "mobilenet_v3",
    "paper": "arXiv:1905.02244",
    "deep_head": True,
    "origins": ("keras", "keras2"),
}
# What tests/test_every_architecture.py exports of each one and proves.
_VERIFIED = ("tflite float32", "tflite int8")


def _architecture(*, name: str, **rest: Any) -> Architecture:  # noqa: ANN401
    """One entry, with what counts.py and accuracies.py say of it."""
    counts = COUNTS[name]
    return Architecture(
        name=name,
        params=counts.params,
        trainable_params=counts.trainable_params,
        macs=counts.macs,
        depth=counts.depth,
        accuracy=ACCURACIES.get(name),
        verified=_VERIFIED,
        **rest,
    )


ARCHITECTURES = (
    # --- LeNet, lenet.py
    _architecture(**_LENET, name="lenet5", title="LeNet-5", input_size=28, min_input_size=12),
    _architecture(
        **_LENET,
        name="lenet5_32",
        title="LeNet-5 on 32x32",
        options={"padding": "valid"},
        input_size=32,
        min_input_size=16,
    ),
    _architecture(
        **_LENET,
        name="lenet5_rgb",
        title="LeNet-5 in colour",
        options={"padding": "valid", "filters": (8, 16), "grey": False, "activation": "relu", "pooling": "max"},
        input_size=32,
        min_input_size=16,
    ),
    # --- AlexNet, alexnet.py
    _architecture(
        **_ALEXNET, name="alexnet", title="AlexNet", paper="doi:10.1145/3065386", input_size=227, min_input_size=67
    ),
    _architecture(
        **_ALEXNET,
        name="alexnet_owt",
        title="AlexNet, one weird trick",
        options={"variant": "owt", "normalization": STANDARDIZED},
        paper="arXiv:1404.5997",
        input_size=224,
        min_input_size=63,
        published=published.ALEXNET_OWT,
        origins=("torch",),
    ),
    # --- VGG, vgg.py
    _architecture(
        **_VGG,
        name="vgg11",
        title="VGG-11",
        options={"column": "A", "normalization": STANDARDIZED},
        published=published.VGG11,
        origins=("torch_A",),
    ),
    _architecture(**_VGG, name="vgg11_lrn", title="VGG-11 (LRN)", options={"column": "A-LRN"}),
    _architecture(
        **_VGG,
        name="vgg13",
        title="VGG-13",
        options={"column": "B", "normalization": STANDARDIZED},
        published=published.VGG13,
        origins=("torch_B",),
    ),
    _architecture(**_VGG, name="vgg16_conv1", title="VGG-16 (conv1)", options={"column": "C"}),
    _architecture(
        **_VGG,
        name="vgg16",
        title="VGG-16",
        options={"column": "D"},
        published=published.VGG16,
        origins=("keras", "torch_D"),
    ),
    _architecture(
        **_VGG,
        name="vgg19",
        title="VGG-19",
        options={"column": "E"},
        published=published.VGG19,
        origins=("keras", "torch_E"),
    ),
    # --- ResNet, resnet.py
    _architecture(
        **_RESNET,
        name="resnet18",
        title="ResNet-18",
        options={"depth": 18},
        published=published.RESNET18,
        origins=("torch",),
    ),
    _architecture(
        **_RESNET,
        name="resnet34",
        title="ResNet-34",
        options={"depth": 34},
        published=published.RESNET34,
        origins=("torch",),
    ),
    _architecture(
        **_RESNET,
        name="resnet50",
        title="ResNet-50",
        options={"depth": 50, **_KERAS_RESNET},
        published=published.RESNET50,
        origins=("keras",),
    ),
    _architecture(
        **_RESNET,
        name="resnet101",
        title="ResNet-101",
        options={"depth": 101, **_KERAS_RESNET},
        published=published.RESNET101,
        origins=("keras",),
    ),
    _architecture(
        **_RESNET,
        name="resnet152",
        title="ResNet-152",
        options={"depth": 152, **_KERAS_RESNET},
        published=published.RESNET152,
        origins=("keras",),
    ),
    _architecture(
        **_RESNET,
        name="resnet50_v1.5",
        title="ResNet-50 v1.5",
        options={"depth": 50, "stride_on_3x3": True},
        published=published.RESNET50_V1_5,
        origins=("torch",),
    ),
    _architecture(
        **_RESNET,
        name="resnet101_v1.5",
        title="ResNet-101 v1.5",
        options={"depth": 101, "stride_on_3x3": True},
        published=published.RESNET101_V1_5,
        origins=("torch",),
    ),
    _architecture(
        **_RESNET,
        name="resnet152_v1.5",
        title="ResNet-152 v1.5",
        options={"depth": 152, "stride_on_3x3": True},
        published=published.RESNET152_V1_5,
        origins=("torch",),
    ),
    _architecture(
        **_RESNET, name="plain18", title="plain network of 18 layers", options={"depth": 18, "shortcut": None}
    ),
    _architecture(
        **_RESNET, name="plain34", title="plain network of 34 layers", options={"depth": 34, "shortcut": None}
    ),
    # --- GoogLeNet, googlenet.py
    _architecture(
        **_GOOGLENET,
        name="googlenet",
        title="GoogLeNet",
        min_input_size=31,
        auxiliaries=Auxiliaries(loss_weight=0.3, stage="stage4", min_input_size=79),
    ),
    _architecture(
        **_GOOGLENET,
        name="googlenet_bn",
        title="GoogLeNet with batch normalization",
        options={"batch_norm": True, "dropout": 0.2},
        min_input_size=15,
        published=published.GOOGLENET_BN,
        origins=("torch",),
    ),
    # --- Inception-v3, inception_v3.py
    _architecture(
        name="inception_v3",
        title="Inception-v3",
        family="inception_v3",
        builder="inception_v3",
        paper="arXiv:1512.00567",
        input_size=299,
        min_input_size=75,
        stages=stages(1, 3, "stem"),
        fully_connected=False,
        published=published.INCEPTION_V3,
        origins=("keras", "keras2"),
    ),
    # --- MobileNetV1, mobilenet_v1.py
    _architecture(
        **_MOBILENET,
        name="mobilenet_v1",
        title="MobileNetV1",
        family="mobilenet_v1",
        builder="mobilenet_v1",
        paper="arXiv:1704.04861",
        stages=stages(1, 5, "stem"),
        published=published.MOBILENET_V1,
        origins=("keras",),
    ),
    # --- MobileNetV2, mobilenet_v2.py
    _architecture(
        **_MOBILENET,
        name="mobilenet_v2",
        title="MobileNetV2",
        family="mobilenet_v2",
        builder="mobilenet_v2",
        paper="arXiv:1801.04381",
        stages=stages(1, 5, "stem"),
        published=published.MOBILENET_V2,
        origins=("keras",),
    ),
    # --- MobileNetV3, mobilenet_v3.py
    _architecture(
        **_MOBILENET_V3,
        name="mobilenet_v3_large",
        title="MobileNetV3-Large",
        options={"size": "large"},
        stages=stages(1, 5, "stem"),
        published=published.MOBILENET_V3_LARGE,
    ),
    _architecture(
        **_MOBILENET_V3,
        name="mobilenet_v3_small",
        title="MobileNetV3-Small",
        options={"size": "small"},
        stages=stages(1, 4, "stem"),
        published=published.MOBILENET_V3_SMALL,
    ),
)
