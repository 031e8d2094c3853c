"""What each architecture costs, counted by `accounting.py` and held to it by a test: name to (MACs, depth).

Of one image of the paper's size with the original head, at the paper's classes. Depth is the number of convolutions and
fully connected layers on the longest way through.
"""

COUNTS: dict[str, tuple[int, int]] = {
    "lenet5": (416_520, 5),
    "lenet5_32": (416_520, 5),
    "lenet5_rgb": (849_320, 5),
    "alexnet": (1_135_256_096, 8),
    "alexnet_owt": (714_188_480, 8),
    "vgg11": (7_609_090_048, 11),
    "vgg11_lrn": (7_609_090_048, 11),
    "vgg13": (11_308_466_176, 13),
    "vgg16_conv1": (11_770_888_192, 16),
    "vgg16": (15_470_264_320, 16),
    "vgg19": (19_632_062_464, 19),
    "resnet18": (1_814_073_344, 18),
    "resnet34": (3_663_761_408, 34),
    "resnet50": (3_857_973_248, 50),
    "resnet101": (7_570_194_432, 101),
    "resnet152": (11_282_415_616, 152),
    "resnet50_v1.5": (4_089_184_256, 50),
    "resnet101_v1.5": (7_801_405_440, 101),
    "resnet152_v1.5": (11_513_626_624, 152),
    "plain18": (1_794_805_760, 18),
    "plain34": (3_644_493_824, 34),
    "googlenet": (1_582_671_872, 22),
    "googlenet_bn": (1_498_376_192, 22),
    "inception_v3": (5_713_216_096, 48),
    "mobilenet_v1": (568_740_352, 28),
    "mobilenet_v2": (300_774_272, 53),
    "mobilenet_v3_large": (216_589_760, 64),
    "mobilenet_v3_small": (56_510_400, 54),
}
