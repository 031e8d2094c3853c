"""Every architecture: a literal table, in the order of the lectures. Every number in it is held by a test."""

from tlkit.models import published
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
        stages=stages(1, 5),
        published=published.VGG16,
        origins=("keras",),
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
