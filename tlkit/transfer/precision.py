"""In which precision a model trains: float32, or half precision where a chip is faster in it.

A mixed policy (Micikevicius et al., Mixed Precision Training, arXiv:1710.03740) keeps the weights in float32 and
computes with copies of half the size. What is trained is a twin of the float32 model; the float32 one gets its weights,
and is what is evaluated and saved.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tlkit.data.pipeline import Batch, Pixels, in_order
from tlkit.errors import OptionError, TlkitError
from tlkit.models.lrn import LocalResponseNormalization
from tlkit.progress import Progress
from tlkit.transfer.inference import inference
from tlkit.transfer.training import probabilities_of

if TYPE_CHECKING:
    from tlkit.transfer.job import Prepared

# From which compute capability on a GPU has matrix units for it.
FLOAT16_FROM, BFLOAT16_FROM = (7, 0), (8, 0)
# Layers that stay in float32: pixels in [0, 255] have more digits than bfloat16, and sums and powers overflow float16.
FLOAT32_LAYERS = (
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Softmax,
    LocalResponseNormalization,
)
# How far the probabilities of a mixed model may be from those of the float32 one: of the largest difference in each
# photo, the mean over all held-out photos. bfloat16 has 8 bits of mantissa, float16 has 11.
TOLERANCE = {"mixed_bfloat16": 0.05, "mixed_float16": 0.01}
BATCH = 64  # of inference


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What was chosen.

    Attributes:
        policy: Of Keras: `float32`, `mixed_float16` or `mixed_bfloat16`.
        why: A part of a sentence; empty when the user asked for it.
    """

    policy: str
    why: str = ""

    @property
    def mixed(self) -> bool:
        """Whether layers compute in half precision."""
        return self.policy != "float32"

    def to_dict(self) -> dict[str, Any]:
        """Returns the manifest's `precision`, as far as it is known before training."""
        return {"trained": self.policy, "saved": "float32", "why": self.why}


def choose(asked: str, capabilities: Sequence[tuple[int, int] | None], *, tpu: bool) -> Precision:
    """Decides what `--precision` leaves open.

    Args:
        asked: A policy, or `auto`.
        capabilities: The compute capability of each GPU, None where it is not known.
        tpu: Whether there is a TPU.
    """
    if asked != "auto":
        return Precision(policy=asked)
    if tpu:
        return Precision(policy="mixed_bfloat16", why="a TPU computes in it")
    if not capabilities:
        return Precision(policy="float32", why="there is no GPU, and half precision is slower on a CPU")
    known = [one for one in capabilities if one is not None]
    least = min(known) if len(known) == len(capabilities) else None
    if least is None:
        return Precision(policy="float32", why="the GPU does not tell its compute capability")
    which = f"the GPU has compute capability {least[0]}.{least[1]}"
    if least >= BFLOAT16_FROM:
        return Precision(policy="mixed_bfloat16", why=which)
    if least >= FLOAT16_FROM:
        return Precision(policy="mixed_float16", why=which)
    return Precision(policy="float32", why=f"{which}, and matrix units for half precision came with 7.0")


def precision_here(asked: str, progress: Progress) -> Precision:
    """Decides for this machine, and says so.

    Raises:
        OptionError: float16, which needs a loss scale, with another backend than TensorFlow.
    """
    if asked == "mixed_float16" and (backend := keras.backend.backend()) != "tensorflow":
        raise OptionError(
            f"--precision mixed_float16 needs Keras' TensorFlow backend, not {backend}. Use --precision mixed_bfloat16."
        )
    if asked != "auto" or keras.backend.backend() != "tensorflow":
        chosen = choose("float32" if asked == "auto" else asked, (), tpu=False)
    else:
        import tensorflow as tf

        details = map(tf.config.experimental.get_device_details, tf.config.get_visible_devices("GPU"))
        capabilities = [one.get("compute_capability") for one in details]
        chosen = choose(asked, capabilities, tpu=bool(tf.config.list_physical_devices("TPU")))
    if chosen.why:
        progress.say(f"--precision auto: {chosen.policy}: {chosen.why}")
    return chosen


def policy_of(layer: keras.Layer, policy: str) -> str:
    """Returns the policy of one layer of a model that is to have `policy`: logits and a few kinds stay in float32."""
    return "float32" if isinstance(layer, FLOAT32_LAYERS) or layer.name.endswith("_logits") else policy


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A mixed model against the float32 one with the same weights, on the photos that were held out.

    Attributes:
        images: How many.
        top1_agreement: Fraction with the same first class.
        mean_probability_difference: Of the largest difference in each photo.
        max_probability_difference: The largest of all.
    """

    images: int
    top1_agreement: float
    mean_probability_difference: float
    max_probability_difference: float


def compare(mixed: np.ndarray, whole: np.ndarray, policy: str) -> Agreement:
    """Compares probabilities `[photos, classes]` of the mixed and of the float32 model.

    Raises:
        TlkitError: they differ by more than the precision explains.
    """
    differences = np.abs(mixed - whole).max(axis=1)
    found = Agreement(
        images=len(whole),
        top1_agreement=float(np.mean(mixed.argmax(axis=1) == whole.argmax(axis=1))),
        mean_probability_difference=float(differences.mean()),
        max_probability_difference=float(differences.max()),
    )
    if not found.mean_probability_difference <= TOLERANCE[policy]:
        raise TlkitError(
            f"The float32 model does not do what the one trained in {policy} did: probabilities differ by "
            f"{found.mean_probability_difference:.2g} on average, and {TOLERANCE[policy]:g} is what {policy} explains. "
            "Train again with --precision float32."
        )
    return found


def verified(prepared: "Prepared", mixed: np.ndarray, progress: Progress) -> tuple[np.ndarray, Agreement]:
    """Returns the float32 model's probabilities of the held-out photos, and how the mixed one agreed with them.

    Args:
        prepared: Its `model` has the trained weights.
        mixed: Probabilities of the mixed model.
        progress: Shows a bar.
    """
    photos = prepared.photos
    pixels, infer = Pixels(photos.root, photos.held_out, prepared.spec, keep=False), inference(prepared.model)
    found = []
    with progress.bar("Evaluating in float32", len(photos.held_out)) as bar:
        for indices, batch in pixels.dataset(map(Batch, in_order(len(photos.held_out), BATCH))):
            found.append(infer(batch))
            bar.advance(len(indices))
    whole = probabilities_of(np.concatenate(found), multi_label=photos.multi_label)
    agreement = compare(mixed, whole, prepared.precision.policy)
    progress.say(
        f"Rebuilt in float32: the same first class as in {prepared.precision.policy} on "
        f"{agreement.top1_agreement:.1%} of {agreement.images} photos"
    )
    return whole, agreement


def record(precision: Precision, agreement: Agreement | None) -> dict[str, Any]:
    """Returns the manifest's `precision`."""
    return {**precision.to_dict(), "agreement": None if agreement is None else asdict(agreement)}
