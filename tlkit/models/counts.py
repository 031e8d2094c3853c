"""What each architecture costs, counted by `accounting.py` and held to it by tests.

Of one image of the paper's size with the original head, at the paper's classes.
"""

from typing import NamedTuple


class Counts(NamedTuple):
    """Counts of one architecture.

    Attributes:
        params: All parameters, statistics of batch normalization included.
        trainable_params: Those that are trained, where there are others.
        macs: Multiply-accumulates.
        depth: Convolutions and fully connected layers on the longest way through.
    """

    params: int
    trainable_params: int | None
    macs: int
    depth: int


COUNTS = {
    "lenet5": Counts(61_706, None, 416_520, 5),
    "lenet5_32": Counts(61_706, None, 416_520, 5),
    "lenet5_rgb": Counts(62_958, None, 849_320, 5),
    "alexnet": Counts(62_378_344, None, 1_135_256_096, 8),
    "alexnet_owt": Counts(61_100_840, None, 714_188_480, 8),
    "vgg11": Counts(132_863_336, None, 7_609_090_048, 11),
    "vgg11_lrn": Counts(132_863_336, None, 7_609_090_048, 11),
    "vgg13": Counts(133_047_848, None, 11_308_466_176, 13),
    "vgg16_conv1": Counts(133_638_952, None, 11_770_888_192, 16),
    "vgg16": Counts(138_357_544, None, 15_470_264_320, 16),
    "vgg19": Counts(143_667_240, None, 19_632_062_464, 19),
    "resnet18": Counts(11_699_112, 11_689_512, 1_814_073_344, 18),
    "resnet34": Counts(21_814_696, 21_797_672, 3_663_761_408, 34),
    "resnet50": Counts(25_610_152, 25_557_032, 3_857_973_248, 50),
    "resnet101": Counts(44_654_504, 44_549_160, 7_570_194_432, 101),
    "resnet152": Counts(60_344_232, 60_192_808, 11_282_415_616, 152),
    "resnet50_v1.5": Counts(25_610_152, 25_557_032, 4_089_184_256, 50),
    "resnet101_v1.5": Counts(44_654_504, 44_549_160, 7_801_405_440, 101),
    "resnet152_v1.5": Counts(60_344_232, 60_192_808, 11_513_626_624, 152),
    "plain18": Counts(11_523_496, 11_515_688, 1_794_805_760, 18),
    "plain34": Counts(21_639_080, 21_623_848, 3_644_493_824, 34),
    "googlenet": Counts(6_998_552, None, 1_582_671_872, 22),
    "googlenet_bn": Counts(6_639_464, 6_624_904, 1_498_376_192, 22),
    "inception_v3": Counts(23_851_784, 23_817_352, 5_713_216_096, 48),
    "mobilenet_v1": Counts(4_253_864, 4_231_976, 568_740_352, 28),
    "mobilenet_v2": Counts(3_538_984, 3_504_872, 300_774_272, 53),
    "mobilenet_v3_large": Counts(5_507_432, 5_483_032, 216_589_760, 64),
    "mobilenet_v3_small": Counts(2_554_968, 2_542_856, 56_510_400, 54),
}
