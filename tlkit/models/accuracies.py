"""Accuracy on ImageNet (ILSVRC-2012 validation) as the papers state it, and with what it was measured on.

The lectures quote those of AlexNet, VGG-16, VGG-19, ResNet-50 and GoogLeNet. Averaged networks and many crops flatter;
that is why each source says so, and the picture shows it.
"""

from tlkit.models.architecture import Accuracy

# Section 3.2: applied to the whole image, scores averaged over positions and over the image and its mirror image.
_VGG = "arXiv:1409.1556, Table 3: one network, the whole image at a scale of 256 and its mirror image; MACs are at 224"
_VGG_JITTERED = (
    "arXiv:1409.1556, Table 3: one network trained on scales of 256 to 512, the whole image at a scale of 384 and its "
    "mirror image; MACs are at 224"
)
_RESNET = "arXiv:1512.03385, Table 3: one network, ten crops, shortcuts of option B, as built here"
_RESNET_A = "arXiv:1512.03385, Table 2: one network, ten crops, shortcuts of option A (here: B); no top-5 stated"
_PLAIN_18 = "arXiv:1512.03385, Table 2: one network, ten crops; no top-5 stated"
_PLAIN_34 = "arXiv:1512.03385, Table 3: one network, ten crops"
_MOBILENET_V3 = "arXiv:1905.02244, Table 3: one network, one crop"


def _averaged(top1: float | None, top5: float | None, source: str) -> Accuracy:
    return Accuracy(top1=top1, top5=top5, source=source, one_crop=False)


# Variants of other publishers have the accuracy of their weights alone (published.py).
ACCURACIES: dict[str, Accuracy] = {
    "alexnet": _averaged(
        0.633,
        0.846,
        "Krizhevsky et al. 2012, Table 2: seven networks averaged, of two towers with LRN (here: one tower, without), "
        "two of them pre-trained on ImageNet 2011; one alone has 59.3 / 81.8",
    ),
    "vgg11": _averaged(0.704, 0.896, _VGG),
    "vgg11_lrn": _averaged(0.703, 0.895, _VGG),
    "vgg13": _averaged(0.713, 0.901, _VGG),
    "vgg16_conv1": _averaged(0.719, 0.906, _VGG),
    "vgg16": _averaged(0.744, 0.919, _VGG_JITTERED),
    "vgg19": _averaged(0.745, 0.920, _VGG_JITTERED),
    "resnet18": _averaged(0.7212, None, _RESNET_A),
    "resnet34": _averaged(0.7548, 0.9254, _RESNET),
    "resnet50": _averaged(0.7715, 0.9329, _RESNET),
    "resnet101": _averaged(0.7825, 0.9395, _RESNET),
    "resnet152": _averaged(0.7857, 0.9429, _RESNET),
    "plain18": _averaged(0.7206, None, _PLAIN_18),
    "plain34": _averaged(0.7146, 0.8998, _PLAIN_34),
    "googlenet": _averaged(
        None,
        0.9333,
        "arXiv:1409.4842, Table 3: seven networks averaged, 144 crops; one with one crop has 89.93",
    ),
    "inception_v3": Accuracy(top1=0.788, top5=0.944, source="arXiv:1512.00567, Table 3: one network, one crop"),
    "mobilenet_v1": Accuracy(top1=0.706, top5=None, source="arXiv:1704.04861, Table 8: one network, one crop"),
    "mobilenet_v2": Accuracy(top1=0.720, top5=None, source="arXiv:1801.04381, Table 4: one network, one crop"),
    "mobilenet_v3_large": Accuracy(top1=0.752, top5=None, source=_MOBILENET_V3),
    "mobilenet_v3_small": Accuracy(top1=0.674, top5=None, source=_MOBILENET_V3),
}
