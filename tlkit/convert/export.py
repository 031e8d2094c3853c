"""Contract 3: the one road to an artifact. Convert, run that very file, compare, and only then keep it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import __version__
from tlkit.convert import tflite_file
from tlkit.convert.calibration import DEFAULT_IMAGES, Calibration, calibration_set
from tlkit.convert.layer_errors import worst_layers
from tlkit.convert.limits import LIMITS, Parity, check_parity, measure_parity, shortfalls
from tlkit.convert.photos import find_again, photos_of
from tlkit.convert.tflite_runtime import TfliteModel, runtime
from tlkit.convert.to_tflite import check_raw_input, scheme_of, tflite_from_keras
from tlkit.data.discover import Photo
from tlkit.data.pipeline import Pixels
from tlkit.errors import OptionError, RunError, did_you_mean
from tlkit.manifest import read_manifest, replacing, sha256_of, write_json, write_manifest
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress

FORMATS = ("tflite",)
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The arguments of `export`.

    Attributes:
        to: A format of `FORMATS`.
        precision: `float32` or `int8`.
        data: Where the run's photos are now, if they have moved.
        calibration: Photos for calibration, at most.
        min_agreement: Instead of the precision's limit; recorded.
        max_drop: Instead of the precision's limit, a fraction; recorded.
    """

    to: str = "tflite"
    precision: str = "float32"
    data: Path | None = None
    calibration: int = DEFAULT_IMAGES
    min_agreement: float | None = None
    max_drop: float | None = None


def check_options(options: ExportOptions) -> None:
    """Checks what can be checked before anything heavy is imported.

    Raises:
        OptionError: an unknown format, or a number outside its range.
    """
    if options.to not in FORMATS:
        raise OptionError(f"--to takes {' or '.join(FORMATS)}, not {options.to!r}.{did_you_mean(options.to, FORMATS)}")
    for name, value in (("min-agreement", options.min_agreement), ("max-drop", options.max_drop)):
        if value is not None and not 0 <= value <= 1:
            raise OptionError(f"--{name} is a fraction from 0 to 1, not {value}.")
    if options.calibration < 10:
        raise OptionError(f"--calibration needs at least 10 photos, not {options.calibration}.")


def export(folder: Path, options: ExportOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Makes one artifact of a run, with proof.

    Args:
        folder: A complete run.
        options: What to make.
        progress: Shows what happens; silent when None.

    Returns:
        The artifact's entry of the manifest.

    Raises:
        ParityError: the file does not do what the model does; no artifact is left.
        TlkitError: bad input of any other kind.
    """
    progress = progress or Progress()
    check_options(options)
    scheme = scheme_of(options.precision)
    manifest = read_manifest(folder)
    spec = PreprocessSpec.from_dict(manifest["preprocess"])
    held_out = photos_of(manifest, "val", "test")
    root, photos = find_again(manifest, held_out, options.data)
    calibration = _calibrate(manifest, spec, options, progress) if scheme.calibrated else None
    model = load_model(folder)
    with progress.bar(f"Converting to {options.to}, {options.precision}", 1, "file") as bar:
        content = tflite_from_keras(model, precision=options.precision, calibration=calibration)
        bar.advance()
    if options.precision == "int8":
        tflite_file.check_int8(content)
    name = f"model.{options.precision}.tflite"
    artifacts = folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    with replacing(artifacts / name) as temporary:
        temporary.write_bytes(content)
        about = {"tlkit": __version__, "base": manifest["base"], "precision": options.precision}
        about |= {"classes": manifest["classes"], "preprocess": spec.to_dict()}
        tflite_file.pack(temporary, labels=manifest["classes"], about=about)
        described, parity = _prove(temporary, name, folder, model, root, photos, spec, options, progress)
        entry = {
            "path": f"artifacts/{name}",
            "format": options.to,
            "precision": options.precision,
            "sha256": sha256_of(temporary),
            "bytes": temporary.stat().st_size,
            **described,
            "runtime": runtime(),
            "min_runtime": tflite_file.min_runtime(content),
            "float_ops": tflite_file.float_operations(content) if options.precision == "int8" else None,
            "calibration": calibration.to_dict() if calibration else None,
            "parity": parity.to_dict(),
        }
        write_json(artifacts / f"{name}.json", {**about, **entry})
    manifest["artifacts"] = [a for a in manifest["artifacts"] if a["path"] != entry["path"]] + [entry]
    write_manifest(folder, manifest)
    return entry


def load_model(folder: Path) -> keras.Model:
    """Loads `model.keras` of a run, in safe mode.

    Raises:
        RunError: it is missing or broken.
    """
    path = folder / "model.keras"
    if not path.is_file():
        raise RunError(f"{path} is missing. Restore it from a copy, or train again.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError) as err:
        reason = str(err).strip().partition("\n")[0]
        raise RunError(f"{path} can't be loaded ({reason}). Restore it from a copy, or train again.") from err


def _calibrate(
    manifest: dict[str, Any], spec: PreprocessSpec, options: ExportOptions, progress: Progress
) -> Calibration:
    from tlkit.convert.calibration import choose

    chosen = choose(photos_of(manifest, "train"), options.calibration, seed=manifest["seed"])
    root, photos = find_again(manifest, chosen, options.data)
    progress.say(f"Calibrating on {len(photos)} photos of the training split")
    return calibration_set(root, photos, spec, count=options.calibration, seed=manifest["seed"])


def _prove(
    path: Path,
    name: str,
    folder: Path,
    model: keras.Model,
    root: Path,
    photos: list[Photo],
    spec: PreprocessSpec,
    options: ExportOptions,
    progress: Progress,
) -> tuple[dict[str, Any], Parity]:
    """Runs the file on every photo that training did not see; raises ParityError when it falls short."""
    artifact = TfliteModel(path)
    described = artifact.describe()
    check_raw_input(described["input"])
    pixels = Pixels(root, photos, spec)
    reference = reference_probabilities(folder, model, pixels, progress)
    found = []
    with progress.bar("Proving the artifact in LiteRT", len(photos)) as bar:
        for start in range(0, len(photos), _BATCH):
            for image in pixels.load(range(start, min(start + _BATCH, len(photos)))):
                found.append(artifact.predict(image))
                bar.advance()
    limit = LIMITS[options.precision].overridden(min_agreement=options.min_agreement, max_drop=options.max_drop)
    labels = np.array([photo.label for photo in photos])
    parity = measure_parity(np.array(found), reference, labels, limit)
    if shortfalls(parity):
        worst = advice = ""
        if options.precision != "float32":
            clean = tflite_from_keras(model, precision="float32")
            layers = worst_layers(clean, path.read_bytes(), pixels.load(range(min(8, len(photos)))))
            worst = " Layers that lose most: " + ", ".join(f"{n} (SQNR {r:.1f} dB)" for n, r in layers) + "."
            advice = (
                f"Try more calibration photos (--calibration {2 * options.calibration}), --precision float32, or "
                f"accept it with --min-agreement {np.floor(parity.top1_agreement * 100) / 100:.2f}"
                f" --max-drop {max(0.0, np.ceil(-parity.accuracy_change * 100) / 100):.2f}."
            )
        check_parity(parity, name=name, worst=worst, advice=advice)
    return described, parity


def reference_probabilities(folder: Path, model: keras.Model, pixels: Pixels, progress: Progress) -> np.ndarray:
    """Returns the probabilities of `model.keras` on photos: those that training saved, if they are of this very file.

    Otherwise (another file, other photos) the model runs again.
    """
    try:
        with np.load(folder / "predictions.npz", allow_pickle=False) as saved:
            same = str(saved["model_sha256"]) == sha256_of(folder / "model.keras")
            if same and list(saved["sha256"]) == [photo.sha256 for photo in pixels.photos]:
                return saved["probabilities"]
    except (OSError, KeyError, ValueError):
        progress.warn("predictions.npz is missing or broken; the Keras model runs again.")
    found = []
    count = len(pixels.photos)
    with progress.bar("Running the Keras model", count) as bar:
        for start in range(0, count, _BATCH):
            batch = pixels.load(range(start, min(start + _BATCH, count)))
            padded = np.resize(batch, (min(_BATCH, count), *batch.shape[1:]))  # one shape, traced once
            found.append(model.predict_on_batch(padded.astype(np.float32))[: len(batch)])
            bar.advance(len(batch))
    return np.concatenate(found)
