"""Accuracy on ImageNet (ILSVRC-2012 validation), as the lectures give it and with what it was measured on.

Where the lectures give none, the paper's. Averaged networks and many crops flatter; that is why each source says so.
"""

from tlkit.models.architecture import Accuracy

_VGG = "arXiv:1409.1556, Table 3: one network, one scale of 256 pixels"
_VGG_JITTERED = "arXiv:1409.1556, Table 3: one network, trained on scales of 256 to 512 pixels, tested at 384"
_RESNET = "arXiv:1512.03385, Table 3: one network, ten crops"
_RESNET_A = "arXiv:1512.03385, Table 2: one network, ten crops, shortcuts of option A; no top-5 stated"
_PLAIN = "arXiv:1512.03385, Table 2: one network, ten crops; no top-5 stated"
_MOBILENET_V3 = "arXiv:1905.02244, Table 3: one network, one crop"

# Variants of other publishers have the accuracy of their weights alone (published.py).
ACCURACIES: dict[str, Accuracy] = {
    "alexnet": Accuracy(
        top1=0.633,
        top5=0.846,
        source="Krizhevsky et al. 2012, Table 2: seven networks averaged; one alone has 59.3 / 81.8",
    ),
    "vgg11": Accuracy(top1=0.704, top5=0.896, source=_VGG),
    "vgg11_lrn": Accuracy(top1=0.703, top5=0.895, source=_VGG),
    "vgg13": Accuracy(top1=0.713, top5=0.901, source=_VGG),
    "vgg16_conv1": Accuracy(top1=0.719, top5=0.906, source=_VGG),
    "vgg16": Accuracy(top1=0.744, top5=0.919, source=_VGG_JITTERED),
    "vgg19": Accuracy(top1=0.745, top5=0.920, source=_VGG_JITTERED),
    "resnet18": Accuracy(top1=0.7212, top5=None, source=_RESNET_A),
    "resnet34": Accuracy(top1=0.7548, top5=0.9254, source=_RESNET),  # option B, as it is built here
    "resnet50": Accuracy(top1=0.7715, top5=0.9329, source=_RESNET),
    "resnet101": Accuracy(top1=0.7825, top5=0.9395, source=_RESNET),
    "resnet152": Accuracy(top1=0.7857, top5=0.9429, source=_RESNET),
    "plain18": Accuracy(top1=0.7206, top5=None, source=_PLAIN),
    "plain34": Accuracy(top1=0.7146, top5=0.8998, source=_RESNET),
    "googlenet": Accuracy(
        top1=None,
        top5=0.9333,
        source="arXiv:1409.4842, Table 3: seven networks averaged, 144 crops; one with one crop has 89.93",
    ),
    "inception_v3": Accuracy(top1=0.788, top5=0.944, source="arXiv:1512.00567, Table 3: one network, one crop"),
    "mobilenet_v1": Accuracy(top1=0.706, top5=None, source="arXiv:1704.04861, Table 8: one network, one crop"),
    "mobilenet_v2": Accuracy(top1=0.720, top5=None, source="arXiv:1801.04381, Table 4: one network, one crop"),
    "mobilenet_v3_large": Accuracy(top1=0.752, top5=None, source=_MOBILENET_V3),
    "mobilenet_v3_small": Accuracy(top1=0.674, top5=None, source=_MOBILENET_V3),
}
