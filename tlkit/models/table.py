"""Every architecture: a literal table, in the order of the lectures. Every number in it is held by a test."""

from tlkit.models import accuracies, published
from tlkit.models.architecture import Architecture


def stages(first: int, last: int, *before: str) -> tuple[str, ...]:
    """Names stages: `stages(1, 2, "stem")` is `("stem", "stage1", "stage2")`."""
    return (*before, *(f"stage{i}" for i in range(first, last + 1)))


ARCHITECTURES = (
    # --- LeNet, lenet.py
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
        macs=416_520,
        depth=5,
        stages=stages(1, 2),
        head="original",  # pooling its 5x5 maps away would leave 16 numbers
    ),
    # --- VGG, vgg.py
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
        macs=15_470_264_320,
        depth=16,
        stages=stages(1, 5),
        accuracy=accuracies.VGG16,
        published=published.VGG16,
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
        macs=300_774_272,
        depth=53,
        stages=stages(1, 5, "stem"),
        fully_connected=False,
        width_multiplier=True,
        accuracy=accuracies.MOBILENET_V2,
        published=published.MOBILENET_V2,
        origins=("keras",),
    ),
)
