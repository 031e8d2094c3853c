"""The files of ImageNet weights: who publishes them, where they lie, what is known of them. A literal table.

Sources, for the files of Keras: url and md5 as `keras.applications` (Keras 3.15) has them; bytes as Keras says them
when it downloads (ResNet-152's from the table at https://keras.io/api/applications/; of MobileNetV3's nobody states
them); accuracy from that table, of MobileNetV3 from the docstring of its module; licences as keras.io/applications has
stated them. For those of torchvision: the `*_Weights` of torchvision 0.28. Their names end in the first eight digits of
their sha256; docs/weights.md says where the others are quoted.
"""

from tlkit.models.architecture import Accuracy, Published

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_TF = "weights_tf_dim_ordering_tf_kernels"
_KERAS_TABLE = "https://keras.io/api/applications/"
_V3_DOCSTRING = "docstring of keras.applications.MobileNetV3"


def _torchvision(constructor: str, file: str, *, megabytes: float, sha256: str, accuracy: Accuracy) -> Published:
    return Published(
        url=f"https://download.pytorch.org/models/{file}",
        source=f"torchvision.models.{constructor}",
        licence="BSD-3-Clause",
        sha256={file: sha256},
        megabytes=megabytes,
        accuracy=accuracy,
    )


def _of_torchvision(top1: float, top5: float) -> Accuracy:
    return Accuracy(top1=top1, top5=top5, source="torchvision 0.28, IMAGENET1K_V1")


# --- AlexNet
ALEXNET_OWT = _torchvision(
    "alexnet",
    "alexnet-owt-7be5be79.pth",
    megabytes=244.4,
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    accuracy=_of_torchvision(0.56522, 0.79066),
)

# --- VGG
VGG11 = _torchvision(
    "vgg11",
    "vgg11-8a719046.pth",
    megabytes=531.5,
    sha256="8a719046",
    accuracy=_of_torchvision(0.6902, 0.88628),
)
VGG13 = _torchvision(
    "vgg13",
    "vgg13-19584684.pth",
    megabytes=532.2,
    sha256="19584684",
    accuracy=_of_torchvision(0.69928, 0.89246),
)
VGG16 = Published(
    url=f"{_KERAS}/vgg16/vgg16_{_TF}{{top}}.h5",
    source="keras.applications.VGG16",
    licence="CC BY 4.0",
    no_top_suffix="_notop",
    md5={
        f"vgg16_{_TF}.h5": "64373286793e3c8b2b4e3219cbf3544b",
        f"vgg16_{_TF}_notop.h5": "6d6bbae143d832006294945121d1f1fc",
    },
    megabytes=553.5,
    accuracy=Accuracy(top1=0.713, top5=0.901, source=_KERAS_TABLE),
)
VGG19 = Published(
    url=f"{_KERAS}/vgg19/vgg19_{_TF}{{top}}.h5",
    source="keras.applications.VGG19",
    licence="CC BY 4.0",
    no_top_suffix="_notop",
    md5={
        f"vgg19_{_TF}.h5": "cbe5617147190e668d6c5d5026f83318",
        f"vgg19_{_TF}_notop.h5": "253f8cb515780f3b799900260a226db6",
    },
    megabytes=574.7,
    accuracy=Accuracy(top1=0.713, top5=0.9, source=_KERAS_TABLE),
)

# --- ResNet. Keras' have the stride on the first 1x1 convolution, torchvision's on the 3x3 ("v1.5").
RESNET18 = _torchvision(
    "resnet18",
    "resnet18-f37072fd.pth",
    megabytes=46.8,
    sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    accuracy=_of_torchvision(0.69758, 0.89078),
)
RESNET34 = _torchvision(
    "resnet34",
    "resnet34-b627a593.pth",
    megabytes=87.3,
    sha256="b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    accuracy=_of_torchvision(0.73314, 0.9142),
)
RESNET50 = Published(
    url=f"{_KERAS}/resnet/resnet50_{_TF}{{top}}.h5",
    source="keras.applications.ResNet50",
    licence="MIT",
    no_top_suffix="_notop",
    md5={
        f"resnet50_{_TF}.h5": "2cb95161c43110f7111970584f804107",
        f"resnet50_{_TF}_notop.h5": "4d473c1dd8becc155b73f8504c6f6626",
    },
    megabytes=103.0,
    accuracy=Accuracy(top1=0.749, top5=0.921, source=_KERAS_TABLE),
)
RESNET101 = Published(
    url=f"{_KERAS}/resnet/resnet101_{_TF}{{top}}.h5",
    source="keras.applications.ResNet101",
    licence="MIT",
    no_top_suffix="_notop",
    md5={
        f"resnet101_{_TF}.h5": "f1aeb4b969a6efcfb50fad2f0c20cfc5",
        f"resnet101_{_TF}_notop.h5": "88cf7a10940856eca736dc7b7e228a21",
    },
    megabytes=179.6,
    accuracy=Accuracy(top1=0.764, top5=0.928, source=_KERAS_TABLE),
)
RESNET152 = Published(
    url=f"{_KERAS}/resnet/resnet152_{_TF}{{top}}.h5",
    source="keras.applications.ResNet152",
    licence="MIT",
    no_top_suffix="_notop",
    md5={
        f"resnet152_{_TF}.h5": "100835be76be38e30d865e96f2aaae62",
        f"resnet152_{_TF}_notop.h5": "ee4c566cf9a93f14d82f913c2dc6dd0c",
    },
    megabytes=243.3,
    accuracy=Accuracy(top1=0.766, top5=0.931, source=_KERAS_TABLE),
)
RESNET50_V1_5 = _torchvision(
    "resnet50",
    "resnet50-0676ba61.pth",
    megabytes=102.5,
    sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    accuracy=_of_torchvision(0.7613, 0.92862),
)
RESNET101_V1_5 = _torchvision(
    "resnet101",
    "resnet101-63fe2227.pth",
    megabytes=178.8,
    sha256="63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
    accuracy=_of_torchvision(0.77374, 0.93546),
)
RESNET152_V1_5 = _torchvision(
    "resnet152",
    "resnet152-394f9c45.pth",
    megabytes=241.6,
    sha256="394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
    accuracy=_of_torchvision(0.78312, 0.94046),
)

# --- GoogLeNet and Inception
GOOGLENET_BN = _torchvision(
    "googlenet",
    "googlenet-1378be20.pth",
    megabytes=52.1,
    sha256="1378be20a8e875cf1568b8a71654e704449655e34711a959a38b04fb34905cef",
    accuracy=_of_torchvision(0.69778, 0.8953),
)
INCEPTION_V3 = Published(
    url=f"{_KERAS}/inception_v3/inception_v3_{_TF}{{top}}.h5",
    source="keras.applications.InceptionV3",
    licence="Apache-2.0",
    sizes=(299,),
    no_top_suffix="_notop",
    md5={
        f"inception_v3_{_TF}.h5": "9a0d58056eeedaa3f26cb7ebd46da564",
        f"inception_v3_{_TF}_notop.h5": "bcbd6486424b2319ff4ef7d526e38f63",
    },
    megabytes=96.1,
    accuracy=Accuracy(top1=0.779, top5=0.937, source=_KERAS_TABLE),
)

# --- MobileNets. Accuracy is that of width 1.0 at 224 pixels.
MOBILENET_V1 = Published(
    url=f"{_KERAS}/mobilenet/mobilenet_{{width}}_{{size}}_tf{{top}}.h5",
    source="keras.applications.MobileNet",
    licence="Apache-2.0",
    sizes=(128, 160, 192, 224),
    widths={0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"},
    no_top_suffix="_no_top",
    megabytes=17.2,
    accuracy=Accuracy(top1=0.704, top5=0.895, source=_KERAS_TABLE),
)
MOBILENET_V2 = Published(
    url=f"{_KERAS}/mobilenet_v2/mobilenet_v2_{_TF}_{{width}}_{{size}}{{top}}.h5",
    source="keras.applications.MobileNetV2",
    licence="Apache-2.0",
    sizes=(96, 128, 160, 192, 224),
    widths={0.35: "0.35", 0.5: "0.5", 0.75: "0.75", 1.0: "1.0", 1.3: "1.3", 1.4: "1.4"},
    no_top_suffix="_no_top",
    megabytes=14.5,
    accuracy=Accuracy(top1=0.713, top5=0.901, source=_KERAS_TABLE),
)
MOBILENET_V3_LARGE = Published(
    url=f"{_KERAS}/mobilenet_v3/weights_mobilenet_v3_large_224_{{width}}_float{{top}}.h5",
    source="keras.applications.MobileNetV3Large",
    licence="Apache-2.0",
    widths={0.75: "0.75", 1.0: "1.0"},
    no_top_suffix="_no_top_v2",
    md5={
        "weights_mobilenet_v3_large_224_0.75_float.h5": "765b44a33ad4005b3ac83185abf1d0eb",
        "weights_mobilenet_v3_large_224_0.75_float_no_top_v2.h5": "40af19a13ebea4e2ee0c676887f69a2e",
        "weights_mobilenet_v3_large_224_1.0_float.h5": "59e551e166be033d707958cf9e29a6a7",
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5": "07fb09a5933dd0c8eaafa16978110389",
    },
    accuracy=Accuracy(top1=0.756, top5=None, source=_V3_DOCSTRING),
)
MOBILENET_V3_SMALL = Published(
    url=f"{_KERAS}/mobilenet_v3/weights_mobilenet_v3_small_224_{{width}}_float{{top}}.h5",
    source="keras.applications.MobileNetV3Small",
    licence="Apache-2.0",
    widths={0.75: "0.75", 1.0: "1.0"},
    no_top_suffix="_no_top_v2",
    md5={
        "weights_mobilenet_v3_small_224_0.75_float.h5": "cb65d4e5be93758266aa0a7f2c6708b7",
        "weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5": "ebdb5cc8e0b497cd13a7c275d475c819",
        "weights_mobilenet_v3_small_224_1.0_float.h5": "8768d4c2e7dee89b9d02b2d03d65d862",
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5": "d3e8ec802a04aa4fc771ee12a9a9b836",
    },
    accuracy=Accuracy(top1=0.681, top5=None, source=_V3_DOCSTRING),
)
