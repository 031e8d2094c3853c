"""Accuracy on ImageNet (ILSVRC-2012 validation unless said), as the lectures give it and where that figure comes from.

Where the lectures give none, the paper's. Each source says how it was measured: averaged networks and crops flatter.
"""

from tlkit.models.architecture import Accuracy

ALEXNET = Accuracy(
    top1=0.633,
    top5=0.846,
    source="Krizhevsky et al. 2012, Table 2: seven networks averaged; one alone has 59.3 / 81.8",
)

_VGG = "arXiv:1409.1556, Table 3: one network, one scale of 256 pixels"
_VGG_JITTERED = "arXiv:1409.1556, Table 3: one network, trained on scales of 256 to 512 pixels, tested at 384"
VGG11 = Accuracy(top1=0.704, top5=0.896, source=_VGG)
VGG11_LRN = Accuracy(top1=0.703, top5=0.895, source=_VGG)
VGG13 = Accuracy(top1=0.713, top5=0.901, source=_VGG)
VGG16_CONV1 = Accuracy(top1=0.719, top5=0.906, source=_VGG)
VGG16 = Accuracy(top1=0.744, top5=0.919, source=_VGG_JITTERED)
VGG19 = Accuracy(top1=0.745, top5=0.920, source=_VGG_JITTERED)

_RESNET = "arXiv:1512.03385, Table 3: one network, ten crops"
_RESNET_A = "arXiv:1512.03385, Table 2: one network, ten crops, shortcuts of option A; no top-5 stated"
PLAIN18 = Accuracy(top1=0.7206, top5=None, source="arXiv:1512.03385, Table 2: one network, ten crops; no top-5 stated")
PLAIN34 = Accuracy(top1=0.7146, top5=0.8998, source=_RESNET)
RESNET18 = Accuracy(top1=0.7212, top5=None, source=_RESNET_A)
RESNET34 = Accuracy(top1=0.7548, top5=0.9254, source=_RESNET)  # option B
RESNET50 = Accuracy(top1=0.7715, top5=0.9329, source=_RESNET)
RESNET101 = Accuracy(top1=0.7825, top5=0.9395, source=_RESNET)
RESNET152 = Accuracy(top1=0.7857, top5=0.9429, source=_RESNET)

GOOGLENET = Accuracy(
    top1=None,
    top5=0.9333,
    source="arXiv:1409.4842, Table 3: seven networks averaged, 144 crops; one with one crop has 89.93",
)
INCEPTION_V3 = Accuracy(top1=0.788, top5=0.944, source="arXiv:1512.00567, Table 3: one network, one crop")
MOBILENET_V1 = Accuracy(top1=0.706, top5=None, source="arXiv:1704.04861, Table 8: one network, one crop")
MOBILENET_V2 = Accuracy(top1=0.720, top5=None, source="arXiv:1801.04381, Table 4: one network, one crop")
MOBILENET_V3_LARGE = Accuracy(top1=0.752, top5=None, source="arXiv:1905.02244, Table 3: one network, one crop")
MOBILENET_V3_SMALL = Accuracy(top1=0.674, top5=None, source="arXiv:1905.02244, Table 3: one network, one crop")
