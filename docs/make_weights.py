"""Writes docs/weights.md from the table of published files; a test holds the file to it.

python docs/make_weights.py
"""

from pathlib import Path

from tlkit.models.architecture import Architecture, Published
from tlkit.models.imagenet import PublishedFile, files_of
from tlkit.models.registry import ARCHITECTURES

HEAD = """# Pretrained weights

Made by `python docs/make_weights.py` from `tlkit/models/published.py`.

`--weights imagenet` (the default where there are any) fetches the published file of an architecture into Keras' cache,
`~/.keras/models` or `$KERAS_HOME/models`, torchvision's files too; `tlkit weights fetch NAME` does so before a machine
goes offline, `tlkit weights` lists what is there. A file is kept only when it is whole: where a checksum is stated below
it must agree, else the file must open as HDF5.

`--weights PATH` takes a file that you have:

| file | what it may be |
| --- | --- |
| `.keras`, `.weights.h5` | of tlkit (a run's `model.keras`), of `keras.applications`, or of a model that contains one of these |
| `.h5` | as `keras.applications` publishes them, with or without the classifier |
| `.pth`, `.pt` | a state dict of torchvision's network: `torch.save(model.state_dict(), path)`, in the zip form and in the form before PyTorch 1.6, also under the key `state_dict` and with names that begin with `module.` |
| `.safetensors` | the same tensors under the same names |

The backbone must be complete and of the right variant, else nothing is changed and the message says what the file is
for. The head is taken when its shape agrees. The input is normalized as the weights were trained with: the constants move
into the model, which always takes RGB in [0, 255]. InceptionV3 is read whatever was built before it in the session that
saved it (Keras numbers its layers on).

Keep the `.keras` file of what tlkit trained. It brings its own constants of the input, and is compared with `--base`
layer by layer: a file of another variant (another stride, padding, activation, epsilon or pooling; a layer more or less)
is refused, with the first difference and the `--base` that fits. The input size may differ. A `.weights.h5` of tlkit
holds arrays and nothing else:
- It does not say how the input was normalized. Where an architecture's weights come in several ways (`vgg16`, `vgg19`)
  it is refused; elsewhere the architecture's own way is taken, whatever the file was trained with.
- Of two variants whose layers with weights have the same names and shapes, it may be either, and **is accepted for
  both**: `resnet50` and `resnet50_v1.5` (101 and 152 likewise), `vgg11` and `vgg11_lrn`, `alexnet` with and without
  normalization, `lenet5` and `lenet5_32` on maps of the same size. The accuracy is then wrong, and no message says why.

## What is refused
Nothing in a file is ever run. `.pth` files are pickles, which are programs: tlkit has a reader of its own that knows the
operations and names of a state dict and refuses every other, by name (`it asks for 'os.system', which no state dict
needs`). PyTorch is not needed. Refused as well, each with a message: files that are cut off, tensors that reach beyond
their storage, archives whose directory lies or that are compressed, TorchScript programs, whole modules
(`torch.save(model, path)`), big-endian files, HDF5 files that link to or keep data in other files, tensors with values
that are not numbers, and files whose backbone has layers that the network has not. Weights of another publisher whose network differs are refused with the name of the architecture that
takes them: `resnet50` takes Keras' (stride on the first 1x1 convolution), `resnet50_v1.5` torchvision's (on the 3x3).

"""
NOTES = """
Top-1 and top-5 are of these very weights, one central crop, as their publisher states them. Licences are those that the
publishers state; torchvision adds that weights may have terms of their own that come from the data they were trained on.
Of the MobileNets, size and accuracy are those of width 1.0 at 224 pixels. "-" is not stated by the publisher.

## The files
Keras states the MD5 of most of its files and no SHA-256; of the MobileNetV1 and V2 files it states neither. torchvision
states the first eight digits of the SHA-256, in the file's name. Where all 64 digits are given they begin with those, and
are quoted, for these very urls, in public repositories: the ResNets' by `zspacelabs/bunsen`, GoogLeNet's by UBC's D3M
primitives, AlexNet's by several that compute LPIPS. Of VGG-11 and VGG-13 no such quote was found.

"""


def stated(file: PublishedFile) -> str:
    """Returns what is known of a file's content."""
    if file.sha256 is not None:
        return f"SHA-256 {'begins with ' if len(file.sha256) < 64 else ''}`{file.sha256}`"
    return f"MD5 `{file.md5}`" if file.md5 is not None else "no checksum is stated"


def overview(architecture: Architecture, published: Published) -> str:
    """Returns one row of the table."""
    accuracy = architecture.published_accuracy
    shares = (None, None) if accuracy is None else (accuracy.top1, accuracy.top5)
    texts = ["-" if share is None else f"{100 * share:.1f} %" for share in shares]
    size = "-" if published.megabytes is None else f"{published.megabytes:.1f} MB"
    return f"| `{architecture.name}` | `{published.source}` | {size} | {published.licence} | {' | '.join(texts)} |\n"


def listing(architecture: Architecture, published: Published) -> str:
    """Returns where the files of an architecture lie, one by one or, where there are many, as a pattern."""
    files, title = files_of(published), f"**{architecture.name}**\n"
    if len(files) <= 4:
        return title + "".join(f"- <{file.url}>\n  {stated(file)}\n" for file in files)
    widths = ", ".join(f"`{text}`" for text in published.widths.values())
    sizes = ", ".join(f"`{size}`" for size in published.sizes)
    return (
        f"{title}- `{published.url}`\n  with width {widths}; size {sizes}; top `{published.no_top_suffix}` without the "
        "classifier, else nothing. No checksum is stated.\n"
    )


def text() -> str:
    """Returns the whole file."""
    known = [(one, one.published) for one in ARCHITECTURES if one.published]
    table = "## Who publishes what\n| name | file for | size | licence | top-1 | top-5 |\n| --- | --- | --- | --- | --- | --- |\n"
    rows = "".join(overview(*one) for one in known)
    return HEAD + table + rows + NOTES + "\n".join(listing(*one) for one in known)


if __name__ == "__main__":
    Path(__file__).with_name("weights.md").write_text(text())
