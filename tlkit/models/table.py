"""Every architecture: a literal table, in the order of the lectures. Every number in it is held by a test."""

from dataclasses import replace
from typing import Any

from tlkit.models import published
from tlkit.models.accuracies import ACCURACIES
from tlkit.models.architecture import Architecture
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

_TABLE = (
    # --- LeNet, lenet.py
    Architecture(
        **_LENET,
        name="lenet5",
        title="LeNet-5",
        input_size=28,
        min_input_size=12,
        params=61_706,
    ),
    Architecture(
        **_LENET,
        name="lenet5_32",
        title="LeNet-5 on 32x32",
        options={"padding": "valid"},
        input_size=32,
        min_input_size=16,
        params=61_706,
    ),
    Architecture(
        **_LENET,
        name="lenet5_rgb",
        title="LeNet-5 in colour",
        options={"padding": "valid", "filters": (8, 16), "grey": False, "activation": "relu", "pooling": "max"},
        input_size=32,
        min_input_size=16,
        params=62_958,
    ),
    # --- AlexNet, alexnet.py
    Architecture(
        **_ALEXNET,
        name="alexnet",
        title="AlexNet",
        paper="doi:10.1145/3065386",
        input_size=227,
        min_input_size=67,
        params=62_378_344,
    ),
    Architecture(
        **_ALEXNET,
        name="alexnet_owt",
        title="AlexNet, one weird trick",
        options={"variant": "owt", "normalization": STANDARDIZED},
        paper="arXiv:1404.5997",
        input_size=224,
        min_input_size=63,
        params=61_100_840,
        origins=("torch",),
    ),
    # --- VGG, vgg.py
    Architecture(
        **_VGG,
        name="vgg11",
        title="VGG-11",
        options={"column": "A", "normalization": STANDARDIZED},
        params=132_863_336,
        origins=("torch_A",),
    ),
    Architecture(
        **_VGG,
        name="vgg11_lrn",
        title="VGG-11 (LRN)",
        options={"column": "A-LRN"},
        params=132_863_336,
    ),
    Architecture(
        **_VGG,
        name="vgg13",
        title="VGG-13",
        options={"column": "B", "normalization": STANDARDIZED},
        params=133_047_848,
        origins=("torch_B",),
    ),
    Architecture(
        **_VGG,
        name="vgg16_conv1",
        title="VGG-16 (conv1)",
        options={"column": "C"},
        params=133_638_952,
    ),
    Architecture(
        **_VGG,
        name="vgg16",
        title="VGG-16",
        options={"column": "D"},
        params=138_357_544,
        published=published.VGG16,
        origins=("keras", "torch_D"),
    ),
    Architecture(
        **_VGG,
        name="vgg19",
        title="VGG-19",
        options={"column": "E"},
        params=143_667_240,
        origins=("keras", "torch_E"),
    ),
    # --- ResNet, resnet.py
    Architecture(
        **_RESNET,
        name="resnet18",
        title="ResNet-18",
        options={"depth": 18},
        params=11_699_112,
        trainable_params=11_689_512,
        origins=("torch",),
    ),
    Architecture(
        **_RESNET,
        name="resnet34",
        title="ResNet-34",
        options={"depth": 34},
        params=21_814_696,
        trainable_params=21_797_672,
        origins=("torch",),
    ),
    Architecture(
        **_RESNET,
        name="resnet50",
        title="ResNet-50",
        options={"depth": 50, **_KERAS_RESNET},
        params=25_610_152,
        trainable_params=25_557_032,
        origins=("keras",),
    ),
    Architecture(
        **_RESNET,
        name="resnet101",
        title="ResNet-101",
        options={"depth": 101, **_KERAS_RESNET},
        params=44_654_504,
        trainable_params=44_549_160,
        origins=("keras",),
    ),
    Architecture(
        **_RESNET,
        name="resnet152",
        title="ResNet-152",
        options={"depth": 152, **_KERAS_RESNET},
        params=60_344_232,
        trainable_params=60_192_808,
        origins=("keras",),
    ),
    Architecture(
        **_RESNET,
        name="resnet50_v1.5",
        title="ResNet-50 v1.5",
        options={"depth": 50, "stride_on_3x3": True},
        params=25_610_152,
        trainable_params=25_557_032,
        origins=("torch",),
    ),
    Architecture(
        **_RESNET,
        name="resnet101_v1.5",
        title="ResNet-101 v1.5",
        options={"depth": 101, "stride_on_3x3": True},
        params=44_654_504,
        trainable_params=44_549_160,
        origins=("torch",),
    ),
    Architecture(
        **_RESNET,
        name="resnet152_v1.5",
        title="ResNet-152 v1.5",
        options={"depth": 152, "stride_on_3x3": True},
        params=60_344_232,
        trainable_params=60_192_808,
        origins=("torch",),
    ),
    Architecture(
        **_RESNET,
        name="plain18",
        title="plain network of 18 layers",
        options={"depth": 18, "shortcut": None},
        params=11_523_496,
        trainable_params=11_515_688,
    ),
    Architecture(
        **_RESNET,
        name="plain34",
        title="plain network of 34 layers",
        options={"depth": 34, "shortcut": None},
        params=21_639_080,
        trainable_params=21_623_848,
    ),
    # --- GoogLeNet, googlenet.py
    Architecture(
        name="googlenet",
        title="GoogLeNet",
        family="googlenet",
        builder="googlenet",
        paper="arXiv:1409.4842",
        input_size=224,
        min_input_size=31,
        params=6_998_552,
        stages=stages(3, 5, "stem"),
        fully_connected=False,
    ),
    Architecture(
        name="googlenet_bn",
        title="GoogLeNet with batch normalization",
        family="googlenet",
        builder="googlenet",
        options={"batch_norm": True, "dropout": 0.2},
        paper="arXiv:1409.4842",
        input_size=224,
        min_input_size=15,
        params=6_639_464,
        trainable_params=6_624_904,
        stages=stages(3, 5, "stem"),
        fully_connected=False,
        origins=("torch",),
    ),
    # --- Inception-v3, inception_v3.py
    Architecture(
        name="inception_v3",
        title="Inception-v3",
        family="inception_v3",
        builder="inception_v3",
        paper="arXiv:1512.00567",
        input_size=299,
        min_input_size=75,
        params=23_851_784,
        trainable_params=23_817_352,
        stages=stages(1, 3, "stem"),
        fully_connected=False,
        origins=("keras", "keras2"),
    ),
    # --- MobileNetV1, mobilenet_v1.py
    Architecture(
        name="mobilenet_v1",
        title="MobileNetV1",
        family="mobilenet_v1",
        builder="mobilenet_v1",
        paper="arXiv:1704.04861",
        input_size=224,
        min_input_size=32,
        params=4_253_864,
        trainable_params=4_231_976,
        stages=stages(1, 5, "stem"),
        fully_connected=False,
        width_multiplier=True,
        origins=("keras",),
    ),
    # --- MobileNetV2, mobilenet_v2.py
    Architecture(
        name="mobilenet_v2",
        title="MobileNetV2",
        family="mobilenet_v2",
        builder="mobilenet_v2",
        paper="arXiv:1801.04381",
        input_size=224,
        min_input_size=32,
        params=3_538_984,
        trainable_params=3_504_872,
        stages=stages(1, 5, "stem"),
        fully_connected=False,
        width_multiplier=True,
        published=published.MOBILENET_V2,
        origins=("keras",),
    ),
    # --- MobileNetV3, mobilenet_v3.py
    Architecture(
        name="mobilenet_v3_large",
        title="MobileNetV3-Large",
        family="mobilenet_v3",
        builder="mobilenet_v3",
        options={"size": "large"},
        paper="arXiv:1905.02244",
        input_size=224,
        min_input_size=32,
        params=5_507_432,
        trainable_params=5_483_032,
        stages=stages(1, 5, "stem"),
        fully_connected=False,
        deep_head=True,
        width_multiplier=True,
        origins=("keras", "keras2"),
    ),
    Architecture(
        name="mobilenet_v3_small",
        title="MobileNetV3-Small",
        family="mobilenet_v3",
        builder="mobilenet_v3",
        options={"size": "small"},
        paper="arXiv:1905.02244",
        input_size=224,
        min_input_size=32,
        params=2_554_968,
        trainable_params=2_542_856,
        stages=stages(1, 4, "stem"),
        fully_connected=False,
        deep_head=True,
        width_multiplier=True,
        origins=("keras", "keras2"),
    ),
)

ARCHITECTURES = tuple(
    replace(one, macs=macs, depth=depth, accuracy=ACCURACIES.get(one.name))
    for one in _TABLE
    for macs, depth in [COUNTS.get(one.name, (None, None))]
)
