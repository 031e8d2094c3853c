"""The files of ImageNet weights: who publishes them, where they lie, what is known of them. A literal table.

Sources: the url and md5 of `keras.applications` (Keras 3.15, Apache-2.0), the `*_Weights` of torchvision 0.28, whose
file names end in the first eight digits of their sha256.
"""

from tlkit.models.architecture import Published

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

VGG16 = Published(
    url=f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels{{top}}.h5",
    source="keras.applications.VGG16",
    licence="CC BY 4.0",
    no_top_suffix="_notop",
    md5={
        "vgg16_weights_tf_dim_ordering_tf_kernels.h5": "64373286793e3c8b2b4e3219cbf3544b",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5": "6d6bbae143d832006294945121d1f1fc",
    },
    megabytes=553.5,
)
MOBILENET_V2 = Published(
    url=f"{_KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{{width}}_{{size}}{{top}}.h5",
    source="keras.applications.MobileNetV2",
    licence="Apache-2.0",
    sizes=(96, 128, 160, 192, 224),
    widths={0.35: "0.35", 0.5: "0.5", 0.75: "0.75", 1.0: "1.0", 1.3: "1.3", 1.4: "1.4"},
    no_top_suffix="_no_top",
    megabytes=14.5,
)
