"""Contract 3: the one road to an artifact. Convert, run that very file, compare, and only then keep it."""

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tlkit.models.lrn  # noqa: F401  # a model may hold its layer
from tlkit import __version__
from tlkit.convert import tflite_file, tflite_pack
from tlkit.convert.calibration import Calibration, calibration_set
from tlkit.convert.layer_errors import worst_layers
from tlkit.convert.limits import LIMITS, Parity, check_parity, measure_parity, shortfalls
from tlkit.convert.multi_parity import measure_multi_label_parity
from tlkit.convert.options import ExportOptions, check_options
from tlkit.convert.tflite_runtime import TfliteModel, runtime
from tlkit.convert.to_tflite import SCHEMES, check_raw_input, tflite_from_keras
from tlkit.convert.undo import restored_on_failure
from tlkit.data.calibration import DEFAULT_CALIBRATION, choose
from tlkit.data.multi_label import label_array
from tlkit.data.pipeline import Pixels, in_order
from tlkit.data.recorded import find_again, photos_of
from tlkit.errors import OptionError, RunError
from tlkit.lazy import without_tensorflow
from tlkit.lock import exclusive
from tlkit.manifest import naming, read_manifest, replacing, sha256_of, sweep, write_json, write_manifest
from tlkit.manifest_fields import MULTI_LABEL, thresholds_of
from tlkit.predict import predict_batch
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress

_BATCH = 32
# The saved predictions are trusted when the loaded model gives the same on this many photos, to this much.
_SAMPLE = 16
_SAME = 5e-5


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
    if keras.backend.backend() != "tensorflow":
        raise OptionError(
            f"Exporting needs the TensorFlow backend, and Keras takes {keras.backend.backend()!r}. Unset KERAS_BACKEND "
            "and export in a new process; the run can stay as it is."
        )
    sweep(folder.parent)
    manifest = read_manifest(folder)
    spec = PreprocessSpec.from_dict(manifest["preprocess"])
    unseen = photos_of(manifest, "val", "test")
    if not unseen:
        raise RunError(f"{folder} has no photos that training did not see, so nothing can be proven. Train again.")
    root, photos = find_again(manifest, unseen, options.data, run=folder)
    if options.calibration is not None and not SCHEMES[options.precision].calibrated:
        progress.warn(f"--calibration is ignored: {options.precision} takes no calibration photos.")
    model_sha256 = sha256_of(folder / "model.keras") if (folder / "model.keras").is_file() else ""
    artifact = folder / "artifacts" / f"model.{options.precision}.tflite"
    sidecar = artifact.with_name(f"{artifact.name}.json")
    try:
        artifact.parent.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            with naming(artifact), replacing(artifact) as temporary:
                temporary.touch()  # a folder that can't be written is noticed before the work
                entry = _make(temporary, folder, manifest, Pixels(root, photos, spec), options, progress)
                artifact.parent.mkdir(exist_ok=True)  # another export that failed may have removed it
                stack.enter_context(restored_on_failure(artifact, sidecar))
            write_json(sidecar, {**_about(manifest, options), **entry})
            _record(folder, entry, model_sha256)
    finally:
        with contextlib.suppress(OSError):
            artifact.parent.rmdir()  # where nothing was made
    return entry


def _record(folder: Path, entry: dict[str, Any], model_sha256: str) -> None:
    """Adds the entry to what the manifest says now: another export may have added to it meanwhile."""
    # A name that no run can have.
    with exclusive(folder.with_name(f".{folder.name}.manifest"), waiting=lambda: None):
        manifest = read_manifest(folder)
        if manifest["status"] != "complete" or sha256_of(folder / "model.keras") != model_sha256:
            raise RunError(f"{folder} got another model meanwhile. Export again when its training is done.")
        manifest["artifacts"] = [a for a in manifest["artifacts"] if a["path"] != entry["path"]] + [entry]
        write_manifest(folder, manifest)


def _about(manifest: dict[str, Any], options: ExportOptions) -> dict[str, Any]:
    """Returns what an artifact says about itself, inside the file and beside it."""
    several = {"task": MULTI_LABEL, "thresholds": thresholds_of(manifest)} if manifest["task"] == MULTI_LABEL else {}
    return {
        "tlkit": __version__,
        "base": manifest["base"],
        "precision": options.precision,
        "classes": manifest["classes"],
        "preprocess": manifest["preprocess"],
        **several,
    }


def _make(
    path: Path, folder: Path, manifest: dict[str, Any], pixels: Pixels, options: ExportOptions, progress: Progress
) -> dict[str, Any]:
    """Converts into `path`, proves that file and returns its entry."""
    calibration = None
    scheme = SCHEMES[options.precision]
    if scheme.calibrated:
        calibration = _calibrate(folder, manifest, pixels.spec, options, progress)
    model = load_model(folder)
    with progress.bar(f"Converting to {options.to}, {options.precision}", 1, "file") as bar:
        content = tflite_from_keras(model, precision=options.precision, calibration=calibration)
        bar.advance()
    tflite_file.check_weights(content, scheme.weights)
    tflite_file.check_no_auxiliaries(content)
    if options.precision == "int8":
        tflite_file.check_int8(content)
    path.write_bytes(content)
    tflite_pack.pack(path, labels=manifest["classes"], about=_about(manifest, options))
    artifact = TfliteModel(path)
    described = artifact.describe()
    check_raw_input(described["input"])
    parity = _prove(artifact, path, folder, manifest, model, pixels, options, progress)
    return {
        "path": f"artifacts/model.{options.precision}.tflite",
        "format": options.to,
        "precision": options.precision,
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        **described,
        "runtime": runtime(),
        "min_runtime": tflite_file.min_runtime(content),
        "float_ops": tflite_file.float_operations(content) if options.precision == "int8" else None,
        "calibration": calibration.to_dict() if calibration else None,
        "parity": parity.to_dict(),
    }


@without_tensorflow()
def load_model(folder: Path) -> keras.Model:
    """Loads `model.keras` of a run, in safe mode.

    Raises:
        RunError: it is missing, broken, or not a classifier of the run's classes.
    """
    path = folder / "model.keras"
    if not path.is_file():
        raise RunError(f"{path} is missing. Restore it from a copy, or train again.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as err:  # a damaged or forged file provokes every kind
        reason = str(err).strip().partition("\n")[0]
        raise RunError(f"{path} can't be loaded ({reason}). Restore it from a copy, or train again.") from err
    manifest = read_manifest(folder)
    size = PreprocessSpec.from_dict(manifest["preprocess"]).input_size
    wanted = [(None, size, size, 3)], [(None, len(manifest["classes"]))]
    given = [tuple(tensor.shape) for tensor in model.inputs], [tuple(tensor.shape) for tensor in model.outputs]
    if given != wanted:
        raise RunError(
            f"{path} does not belong to this run: it maps {given[0]} to {given[1]}, and run.json says "
            f"{wanted[0]} to {wanted[1]}. Restore it from a copy, or train again."
        )
    return model


def _calibrate(
    folder: Path, manifest: dict[str, Any], spec: PreprocessSpec, options: ExportOptions, progress: Progress
) -> Calibration:
    chosen = choose(photos_of(manifest, "train"), _calibration_photos(options), seed=manifest["seed"])
    root, photos = find_again(manifest, chosen, options.data, run=folder)
    progress.say(f"Calibrating on {len(photos)} photos of the training split")
    return calibration_set(root, photos, spec)


def _calibration_photos(options: ExportOptions) -> int:
    return DEFAULT_CALIBRATION if options.calibration is None else options.calibration


def _prove(
    artifact: TfliteModel,
    path: Path,
    folder: Path,
    manifest: dict[str, Any],
    model: keras.Model,
    pixels: Pixels,
    options: ExportOptions,
    progress: Progress,
) -> Parity:
    """Runs the file on every photo that training did not see; raises ParityError when it falls short."""
    count = len(pixels.photos)
    reference = reference_probabilities(folder, model, pixels, progress)
    found = []
    with progress.bar("Proving the artifact in LiteRT", count) as bar:
        for batch in in_order(count, _BATCH):
            for probabilities in artifact.predict_all(pixels.load(batch)):
                found.append(probabilities)
                bar.advance()
    limit = LIMITS[options.precision].overridden(min_agreement=options.min_agreement, max_drop=options.max_drop)
    labels = label_array(pixels.photos, len(manifest["classes"]))
    if manifest["task"] == MULTI_LABEL:
        parity: Parity = measure_multi_label_parity(np.array(found), reference, labels, thresholds_of(manifest), limit)
    else:
        parity = measure_parity(np.array(found), reference, labels, limit)
    if shortfalls(parity):
        worst = ""
        if options.precision != "float32":
            clean = tflite_from_keras(model, precision="float32")
            layers = worst_layers(clean, path.read_bytes(), pixels.load(range(min(8, count))))
            worst = " Layers that lose most: " + ", ".join(f"{n} (SQNR {r:.1f} dB)" for n, r in layers) + "."
        check_parity(parity, name=f"model.{options.precision}.tflite", worst=worst, advice=_advice(parity, options))
    return parity


def _advice(parity: Parity, options: ExportOptions) -> str:
    """Says what to try with an artifact that fell short."""
    scheme = SCHEMES[options.precision]
    if scheme.instead is None:
        return "The conversion itself went wrong: please report this, with run.json."
    advice = f"Try --precision {scheme.instead}"
    if scheme.calibrated:
        more = 2 * _calibration_photos(options)
        advice = f"Try more calibration photos (--calibration {more}), or --precision {scheme.instead}"
    _, share = parity.agreement
    if share < 0.5:
        return f"{advice}."
    agreement = np.floor(share * 100) / 100
    drop = max(0.0, *(np.ceil((before - after) * 100) / 100 for _, before, after in parity.losses))
    return f"{advice}, or accept it with --min-agreement {agreement:.2f} --max-drop {drop:.2f}."


def reference_probabilities(folder: Path, model: keras.Model, pixels: Pixels, progress: Progress) -> np.ndarray:
    """Returns the probabilities of `model.keras` on photos, `[photos, classes]`.

    Those that training saved are taken if they are of this very file and these photos, and if the loaded model gives
    the same on a sample; otherwise it runs on all of them.
    """
    saved = _saved_probabilities(folder, pixels)
    if saved is not None:
        sample = np.linspace(0, len(saved) - 1, min(_SAMPLE, len(saved))).astype(int)
        again = keras.ops.convert_to_numpy(model(pixels.load(sample).astype(np.float32), training=False))
        if again.shape == saved[sample].shape and np.abs(again - saved[sample]).max() <= _SAME:
            return saved
    progress.warn("predictions.npz is missing, broken, or not of this model.keras; the Keras model runs again.")
    found = []
    with progress.bar("Running the Keras model", len(pixels.photos)) as bar:
        for indices in in_order(len(pixels.photos), _BATCH):
            found.append(predict_batch(model, pixels.load(indices), _BATCH))
            bar.advance(len(indices))
    return np.concatenate(found)


def _saved_probabilities(folder: Path, pixels: Pixels) -> np.ndarray | None:
    """Reads what training saved, if it belongs to `model.keras` and these photos."""
    try:
        with (folder / "predictions.npz").open("rb") as file, np.load(file, allow_pickle=False) as saved:
            same = str(saved["model_sha256"]) == sha256_of(folder / "model.keras")
            if same and list(saved["sha256"]) == [photo.sha256 for photo in pixels.photos]:
                return saved["probabilities"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return None
