"""Writes docs/errata.md: what the lectures print, and beside it what is counted; a test holds the file to it.

python docs/make_errata.py

Only what is printed is typed here: INCEPTION, COMPARISON and QUOTED. Every other number is computed; a test finds those
that are not.
"""

import textwrap
from functools import partial
from pathlib import Path

import keras
from keras import layers

from tlkit.cli.figures import markdown_table, per_cent
from tlkit.models import registry
from tlkit.models.accounting import Summary, summarize
from tlkit.models.skeleton import skeleton, without_weights

HEAD = """# Errata of the lectures

Made by `python docs/make_errata.py`: what is printed is quoted, every other number is counted by
`tlkit.models.accounting` from the architectures that tlkit builds, or from the very columns of the lecture's table; a
test holds this file to it. 1K is 1,000 and 1M 1,000,000 unless it says Ki (1,024) or Mi.
"""
# The lecture's table (the paper's Table 1, arXiv:1409.4842, has the same figures): side of the map, channels that come
# in, #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; printed parameters in K, printed operations in millions.
INCEPTION = {
    "3a": (28, 192, (64, 96, 128, 16, 32, 32), 159, 128),
    "3b": (28, 256, (128, 128, 192, 32, 96, 64), 380, 304),
    "4a": (14, 480, (192, 96, 208, 16, 48, 64), 364, 73),
    "4b": (14, 512, (160, 112, 224, 24, 64, 64), 437, 88),
    "4c": (14, 512, (128, 128, 256, 24, 64, 64), 463, 100),
    "4d": (14, 512, (112, 144, 288, 32, 64, 64), 580, 119),
    "4e": (14, 528, (256, 160, 320, 32, 128, 128), 840, 170),
    "5a": (7, 832, (256, 160, 320, 32, 128, 128), 1072, 54),
    "5b": (7, 832, (384, 192, 384, 48, 128, 128), 1388, 71),
}
# Printed: layers, parameters in millions, size in MB.
COMPARISON = {
    "alexnet": ("AlexNet", 8, 61, 227),
    "googlenet": ("GoogLeNet", 22, 7, 27),
    "inception_v3": ("Inception-v3", 48, 23.9, 89),
    "vgg16": ("VGG-16", 16, 138, 515),
    "resnet18": ("ResNet18", 18, 25.6, 96),
    "resnet50": ("ResNet50", 50, 44.6, 167),
}
# What the lectures print elsewhere, and how they call layers: the only numbers that the sentences below may hold.
QUOTED = {
    "googlenet": "1x1 5x5 7x7x3 to 64, 7x1 1x7, 2.7K, 34M; 112K 360M 1000K",
    "stem": "224 to 28 pixels, stages 1 to 3; 7.5 MB, 124K, 42.9 MB, 5.7 times, 1.1M, 8.9 times",
    "comparison": "",
    "alexnet": "9261 nodes, stride 4, 37,752,832 parameters, 3x3; and 1 bias each",
    "rest": "seven trainable layers; 156, 14 million; 1025K against 102,760K + 16,777K + 4,096K; 1998; "
    "32x32x1 32x32x3; ten crops",
}
STEP = 4  # filters, in which an explanation of GoogLeNet's figures is sought
GROUPS = 2  # AlexNet's towers
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def stack(*inside: keras.layers.Layer, given: tuple[int, ...]) -> Summary:
    """Counts layers on top of each other, from an input of shape `given` (without the batch)."""
    with without_weights():
        return summarize(keras.Sequential([keras.Input(given), *inside]))


def conv(filters: int, kernel: int, stride: int = 1, bias: bool = True) -> keras.layers.Layer:
    """A convolution that keeps the side, but for its stride."""
    return layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=bias)


def inception(name: str, columns: tuple[int, ...] = ()) -> Summary:
    """Counts one inception module from the columns of the lecture's table, or from others."""
    side, channels, own, _, _ = INCEPTION[name]
    ones, reduce3, threes, reduce5, fives, projection = columns or own
    with without_weights():
        x = keras.Input((side, side, channels))
        pooled = layers.MaxPooling2D(3, 1, padding="same")(x)
        branches = [
            conv(ones, 1)(x),
            conv(threes, 3)(conv(reduce3, 1)(x)),
            conv(fives, 5)(conv(reduce5, 1)(x)),
            conv(projection, 1)(pooled),
        ]
        return summarize(keras.Model(x, layers.Concatenate()(branches)))


def counted(name: str, **options: object) -> Summary:
    """Counts an architecture of the registry."""
    return summarize(skeleton(name, **options))


def bare(summary: Summary) -> int:
    """Returns the parameters without biases, of which each channel of a convolution has one."""
    return summary.parameters - sum(layer.shape[-1] for layer in summary.layers if layer.parameters)


def millions(count: float) -> str:
    """Writes a count as the lectures do."""
    return f"{count / 1e6:.1f}M"


def _error(module: Summary, printed: int) -> float:
    """Returns by how much a printed count misses, in the unit and with or without biases as it fits best."""
    return min(abs(count / unit - printed) for count in (module.parameters, bare(module)) for unit in (1000, 1024))


def explanations(name: str) -> list[tuple[int, ...]]:
    """Returns the columns, one of them changed in steps of `STEP`, that give both figures printed for a module."""
    side, channels, own, *printed = INCEPTION[name]

    def figures(c: tuple[int, ...]) -> list[int]:
        weights = channels * (c[0] + c[1] + c[3] + c[5]) + 9 * c[1] * c[2] + 25 * c[3] * c[4]
        return [round(weights / 1024), round(weights * side**2 / 1e6)]

    changed = (
        (*own[:i], value, *own[i + 1 :]) for i in range(6) for value in range(STEP, 513, STEP) if value != own[i]
    )
    return [columns for columns in changed if figures(columns) == printed]


def googlenet() -> str:
    """The columns of parameters and operations of GoogLeNet's table."""
    modules = {name: inception(name) for name in INCEPTION}
    rows = [["module", "printed", "parameters", "without biases", "in Ki", "printed ops", "million MACs"]]
    for name, (*_, parameters, operations) in INCEPTION.items():
        one = modules[name]
        ours = [f"{one.parameters:,}", f"{bare(one):,}", f"{bare(one) / 1024:,.1f}"]
        rows.append([name, f"{parameters:,}K", *ours, f"{operations}M", f"{one.macs / 1e6:.1f}"])
    far = [name for name, (*_, printed, _) in INCEPTION.items() if _error(modules[name], printed) > 1]
    near = [name for name in INCEPTION if name not in far]
    off = max(abs(modules[name].macs - 1e6 * row[-1]) for name, row in INCEPTION.items() if name != "5a")
    explained = {name: columns for name in far for columns in explanations(name)}
    (why,) = explained  # a second one would need a sentence of its own
    other = inception(why, explained[why])
    was, would = next((a, b) for a, b in zip(INCEPTION[why][2], explained[why], strict=True) if a != b)
    first = stack(conv(64, 7, 2), given=(224, 224, 3))
    side = first.layers[-1].shape[0]
    apart = sum(bare(stack(layers.Conv2D(64, kernel), given=(224, 224, 3))) for kernel in ((7, 1), (1, 7)))
    second = stack(conv(64, 1, bias=False), conv(192, 3, bias=False), given=(56, 56, 64))
    linear = stack(layers.Dense(1000, use_bias=False), given=(1024,))
    (side5, *_, ki5, ops5), (side4, *_, ki4, ops4) = INCEPTION["5a"], INCEPTION["4c"]
    return f"""## GoogLeNet's parameters and operations

The lecture's table copies the paper's (arXiv:1409.4842, Table 1). Its own columns of filters give:

{markdown_table(rows, right=range(1, 7))}

- K is {2**10:,} there, and biases are left out: the second convolution has
  {second.parameters:,} weights = {second.parameters // 1024} Ki (printed 112K) and {millions(second.macs)} MACs (360M),
  the linear layer {linear.parameters:,} = {linear.parameters // 1024} Ki (1000K).
  So the parameters of {", ".join(near)} are right to within one;
  those of {", ".join(far)} are not, with biases or without, in K or in Ki.
- The operations agree to within {millions(off)} but for 5a:
  {ops5}M are printed, {millions(modules["5a"].macs)} are counted.
  The printed parameters of 5a, {ki5} Ki, at {side5} x {side5} positions make {millions(ki5 * 1024 * side5**2)}:
  the two printed figures agree with each other, not with the columns.
  In 4c only the parameters are off:
  {ki4} Ki at {side4} x {side4} positions would make {millions(ki4 * 1024 * side4**2)}, and {ops4}M are printed.
  Of all changes of one column in steps of {STEP}, one explains both figures of a module:
  {why} with {would} filters instead of {was} (5x5) has {bare(other) / 1024:.1f} Ki and {millions(other.macs)}.
- The first convolution, 7x7x3 to 64, is printed with 2.7K parameters and 34M operations.
  It has {first.parameters:,} ({bare(first):,} without biases) and {millions(first.macs)} MACs.
  What is printed fits a 7x1 and a 1x7 kernel:
  {apart:,} weights, {millions(apart * side**2)} MACs at {side} x {side} positions.
"""


def stem() -> str:
    """The way from 224 to 28 pixels, compared with VGG."""
    pool = partial(layers.MaxPooling2D, 3, 2, padding="same")
    entrance = stack(conv(64, 7, 2), pool(), conv(64, 1), conv(192, 3), pool(), given=(224, 224, 3))
    way = {"GoogLeNet": entrance.layers[1:]}
    for name, title in (("vgg13", "VGG-13"), ("vgg16", "VGG-16")):
        way[title] = tuple(one for one in counted(name).layers if one.stage in ("stage1", "stage2", "stage3"))
    convolutions = {title: [one for one in inside if one.parameters] for title, inside in way.items()}
    weights = {title: sum(one.parameters - one.shape[-1] for one in inside) for title, inside in convolutions.items()}
    memory, unpooled = (
        {title: sum(one.memory for one in inside) / 2**20 for title, inside in what.items()}
        for what in (way, convolutions)
    )
    rows = [["from 224 to 28 pixels", "memory, Mi", "without pooling, Mi", "weights without biases"]]
    for title in way:
        named = title if title == "GoogLeNet" else f"{title}, stages 1 to 3"
        rows.append([named, f"{memory[title]:.2f}", f"{unpooled[title]:.2f}", f"{weights[title]:,}"])
    (pooled,) = (title for title in way if f"{memory[title]:.1f}" == "7.5")
    (vgg,) = (title for title in way if (f"{unpooled[title]:.1f}", millions(weights[title])) == ("42.9", "1.1M"))
    assert (pooled, vgg) == ("GoogLeNet", "VGG-13")
    ours, theirs = weights[pooled], weights[vgg]
    return f"""## The stem, "VGG-16"

Printed: GoogLeNet needs 7.5 MB and 124K weights for it, "VGG-16" 42.9 MB (5.7 times) and 1.1M (8.9 times).

{markdown_table(rows, right=(1, 2, 3))}

- {unpooled[vgg]:.1f} MB and {millions(theirs)} are those of the {WORDS[len(convolutions[vgg])]} convolutions of {vgg};
  VGG-16 has {WORDS[len(convolutions["VGG-16"])]} before 28 pixels.
- {memory[pooled]:.1f} MB counts GoogLeNet's poolings, {unpooled[vgg]:.1f} MB leaves VGG's out.
  With both it is {memory[vgg] / memory[pooled]:.1f} times,
  without both {unpooled[vgg] / unpooled[pooled]:.1f} times, instead of {42.9 / 7.5:.1f}.
- {theirs:,} is {theirs / ours:.1f} times {ours:,};
  {1.1e6 / 124e3:.1f} is 1.1M by {ours / 1000:.0f}K, after rounding.
"""


def comparison() -> str:
    """The table of all networks."""
    units = {"2^30/1000": 2**30 / 1000, "10^6": 1e6, "2^20": 2**20}
    rows = [["printed", "layers", "counted", "millions", "MB", "parameters", *(f"{unit} bytes" for unit in units)]]
    two_towers = counted("alexnet", groups=GROUPS).parameters
    nearer: dict[str, list[str]] = {unit: [] for unit in units}
    for name, (title, depth, printed, megabytes) in COMPARISON.items():
        architecture = registry.find(name)
        parameters = two_towers if name == "alexnet" else architecture.params
        sizes = {unit: 4 * parameters / count for unit, count in units.items()}
        if architecture.family != "resnet":
            nearer[min(units, key=lambda unit: abs(sizes[unit] - megabytes))].append(title)
        told = [str(depth), str(architecture.depth), str(printed), str(megabytes)]
        rows.append([title, *told, f"{parameters:,}", *(f"{size:.1f}" for size in sizes.values())])
    *some, last = nearer["2^30/1000"]
    (one,) = nearer["2^20"]
    assert not nearer["10^6"] and one == COMPARISON["googlenet"][0]
    (*_, small, small_mb), (*_, large, large_mb) = COMPARISON["resnet18"], COMPARISON["resnet50"]
    fifty, hundred = (registry.find(name).params for name in ("resnet50", "resnet101"))
    return f"""## The comparison: ResNet-18 and ResNet-50

{markdown_table(rows, right=range(1, 9))}

- The numbers of layers are right. The two rows of ResNet have slipped otherwise:
  {small}M and {small_mb} MB are ResNet-50's ({fifty:,}: {4 * fifty / 2**30 * 1000:.1f}),
  {large}M and {large_mb} MB ResNet-101's ({hundred:,}: {4 * hundred / 2**30 * 1000:.1f}).
- "MB" there are thousandths of 2^30 bytes:
  neither 10^6 bytes, which tlkit prints, nor 2^20 bytes fit {", ".join(some)} and {last}.
  Only {one}'s {COMPARISON["googlenet"][3]} is nearer to 2^20 bytes.
- AlexNet there is the network of two towers (`groups={GROUPS}`, {two_towers:,} parameters);
  the layers as another lecture tabulates them add up to {registry.find("alexnet").params:,}.
"""


def alexnet() -> str:
    """AlexNet's 9261 nodes and stride 4."""
    model = counted("alexnet")
    flat = next(layer for layer in reversed(model.layers) if layer.kind == "Flatten")
    before = " x ".join(map(str, model.layers[model.layers.index(flat) - 1].shape))
    strides = ", ".join(layer.window for layer in model.layers if layer.kind == "Conv2D")
    fc6 = next(layer for layer in model.layers if layer.kind == "Dense")
    assert fc6.parameters == 37_752_832 == (flat.size + 1) * fc6.shape[-1] != (9261 + 1) * fc6.shape[-1]
    slow = (conv(256, 5, 4), layers.MaxPooling2D(3, 2), conv(384, 3, 4), conv(384, 3, 4), conv(256, 3, 4))
    side, *sides = (layer.shape[0] for layer in stack(*slow, given=(27, 27, 96)).layers)
    return f"""## AlexNet: 9261 nodes, stride 4 in conv2 to conv5

- One lecture prints 9261 nodes after flattening. {before} is {flat.size:,},
  and only that fits the 37,752,832 parameters printed for the next layer:
  ({flat.size:,} + 1) x {fc6.shape[-1]:,} = {fc6.parameters:,}.
- The same lecture prints stride 4 for conv2 to conv5. Only conv1 has it ({strides}).
  With stride 4 the {side} pixels before conv2 would become {", ".join(map(str, sides))},
  and the last pooling, 3x3, would have nothing to pool.
"""


def rest() -> str:
    """What needs a sentence each."""
    lenet = [layer for layer in counted("lenet5", classes=10).layers if layer.stage != "input"]
    weighted = [layer for layer in lenet if layer.parameters]
    pools = [layer for layer in lenet if "Pooling" in layer.kind]
    pooled = " and ".join(str(2 * layer.shape[-1]) for layer in pools)
    inputs = ((32, 32, 1), (32, 32, 3))
    grey, rgb = (stack(layers.Conv2D(6, 5), given=given).parameters for given in inputs)
    full_grey, full_rgb = (bare(stack(layers.Flatten(), layers.Dense(4704), given=given)) for given in inputs)
    of_mobilenet, of_googlenet = (
        sum(layer.kind == "Concatenate" for layer in counted(name).layers) for name in ("mobilenet_v1", "googlenet")
    )
    end = [layer for layer in counted("vgg16").layers if layer.kind == "Dense"]
    vgg = " + ".join(f"{layer.parameters / 1000:,.0f}K" for layer in end)
    bare_vgg = " + ".join(f"{(layer.parameters - layer.shape[-1]) / 1000:,.0f}K" for layer in end)
    ours = stack(layers.Dense(1000), given=(1024,))
    alexnet, googlenet = registry.find("alexnet").accuracy, registry.find("googlenet").accuracy
    assert alexnet and googlenet and all("seven networks averaged" in one.source for one in (alexnet, googlenet))
    resnets = [one.accuracy for one in registry.ARCHITECTURES if one.family == "resnet"]
    assert all("ten crops" in accuracy.source for accuracy in resnets if accuracy)
    return f"""## LeNet-5: seven trainable layers

The network that the lecture tabulates has {len(weighted)} layers with parameters;
with its {len(pools)} poolings, which have none here, that makes {len(weighted) + len(pools)}.
In the paper of 1998 each pooling has a trainable factor and bias for every map, {pooled} parameters:
there the sentence is right.

## A convolution against full connection: 156 against 14 million

{grey:,} parameters are those of the convolution on one channel, {full_rgb:,} those of full connection from three.
Like against like: {grey:,} against {full_grey:,} on 32x32x1,
{rgb:,} against {full_rgb:,} on 32x32x3 (the latter without biases).

## MobileNetV1: sentences about GoogLeNet

What is said of inception modules under MobileNetV1 is GoogLeNet's:
MobileNetV1 joins branches {of_mobilenet} times, GoogLeNet {of_googlenet} times.

## The end of GoogLeNet against the end of VGG

1025K against 102,760K + 16,777K + 4,096K counts biases on one side only.
With them: {ours.parameters / 1000:,.0f}K against {vgg}; without: {bare(ours) / 1000:,.0f}K against {bare_vgg}.

## Accuracies that are not of one network on one crop

`tlkit models` prints the source of each. AlexNet's {per_cent(alexnet.top1)} / {per_cent(alexnet.top5)}
and GoogLeNet's {per_cent(googlenet.top5)} are averages of seven networks, ResNet's are of ten crops:
none of them is what the network that is built here gives on one photo.
"""


def filled(text: str) -> str:
    """Fills paragraphs and list items to 120 columns; headings and tables stay as they are."""
    blocks: list[str] = []
    for line in text.splitlines():
        alone = not line or line.startswith(("#", "|", "- "))
        before = blocks[-1] if blocks else ""
        if alone or not before or before.startswith(("#", "|")):
            blocks.append(line)
        else:
            blocks[-1] += " " + line.strip()
    return "\n".join(
        line
        if line.startswith(("#", "|"))
        else textwrap.fill(line, 120, subsequent_indent="  " * line.startswith("- "))
        for line in blocks
    )


def reference() -> str:
    """Returns the whole file."""
    return filled("\n".join([HEAD, googlenet(), stem(), comparison(), alexnet(), rest()])) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("errata.md").write_text(reference())
