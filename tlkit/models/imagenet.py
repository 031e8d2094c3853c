"""The files of ImageNet weights that are published: which one, where it lies, how it gets there. Imports no Keras.

Name and place of Keras' files are those of `keras.applications`, so both use the same files; torchvision's lie beside
them.
"""

import hashlib
import http.client
import itertools
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tlkit.errors import OptionError, WeightsError
from tlkit.manifest import replacing
from tlkit.models import registry
from tlkit.models.architecture import Architecture, Published
from tlkit.progress import Progress

_PATIENCE = 10  # seconds without an answer, after which a download is given up
_CHUNK = 1 << 18
ALL = "all"


class DownloadError(WeightsError):
    """ImageNet weights are neither in Keras' cache nor to be had from the network."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file of published weights. A checksum is None where none is known; of a sha256, it may be the beginning."""

    url: str
    md5: str | None = None
    sha256: str | None = None
    name: str | None = None  # where Keras' cache has another than the url

    @property
    def path(self) -> Path:
        """Its place in Keras' cache, whether it is there or not."""
        return models_folder() / (self.name or self.url.rpartition("/")[2])


def models_folder() -> Path:
    """Returns the folder in which Keras keeps weights; `KERAS_HOME` moves it."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def file_of(published: Published, *, input_size: int, top: bool, width_multiplier: float = 1.0) -> PublishedFile:
    """Returns the file for an input size in pixels, with or without the classifier.

    Raises:
        OptionError: there is but one width.
        WeightsError: there is no file for that width.
    """
    if width_multiplier != 1.0 and not published.widths:
        raise OptionError(f"{published.source} has one width only, not {width_multiplier:g}. Leave --width out.")
    size = input_size if input_size in published.sizes else published.sizes[-1]
    suffix = published.top_suffix if top else published.no_top_suffix
    if published.widths and width_multiplier not in published.widths:
        raise WeightsError(
            f"There are no ImageNet weights of width {width_multiplier:g} for {published.source}. There are for "
            f"{', '.join(f'{width:g}' for width in published.widths)}; with another: --weights none, or a file."
        )
    url = published.url.format(size=size, top=suffix, width=published.widths.get(width_multiplier, ""))
    name = url.rpartition("/")[2]
    return PublishedFile(url=url, md5=published.md5.get(name), sha256=published.sha256.get(name))


def files_of(published: Published) -> list[PublishedFile]:
    """Returns every file: for each input size and width, with and without the classifier."""
    every = itertools.product(published.widths or (1.0,), published.sizes, (True, False))
    files = [file_of(published, input_size=size, top=top, width_multiplier=width) for width, size, top in every]
    return list(dict.fromkeys(files))


def listed_files() -> list[tuple[Architecture, PublishedFile]]:
    """Returns the files that transfer takes by default, and those for other sizes, heads and widths that are there."""
    listed = []
    for architecture in registry.ARCHITECTURES:
        if (published := architecture.published) is None:
            continue
        default = file_of(published, input_size=architecture.input_size, top=architecture.takes_top(architecture.head))
        others = set(files_of(published))
        there = sorted((file for file in others - {default} if file.path.is_file()), key=lambda file: file.url)
        listed += [(architecture, file) for file in (default, *there)]
    return listed


def with_weights(names: tuple[str, ...]) -> list[Architecture]:
    """Returns architectures by name, each once; `all` stands for every one that has published weights.

    Raises:
        UnknownNameError: there is no such architecture.
        WeightsError: nobody publishes weights for it.
    """
    every = [architecture for architecture in registry.ARCHITECTURES if architecture.published]
    found: dict[str, Architecture] = {}
    for name in names:
        for architecture in every if name == ALL else [registry.find(name)]:
            if architecture.published is None:
                others = ", ".join(one.name for one in every)
                raise WeightsError(f"There are no ImageNet weights for {name}. There are for: {others}.")
            found[architecture.name] = architecture
    return list(found.values())


def fetch_imagenet(
    architecture: Architecture,
    *,
    input_size: int,
    top: bool,
    width_multiplier: float = 1.0,
    progress: Progress | None = None,
) -> Path:
    """Returns the file of ImageNet weights from Keras' cache, downloading it when it is not there, or not whole.

    Args:
        architecture: One with published weights.
        input_size: In pixels.
        top: Whether the classifier is wanted.
        width_multiplier: Where the architecture takes one.
        progress: Shows a bar.

    Raises:
        WeightsError: nobody publishes any for this architecture, or this width.
        DownloadError: they can't be had; the message names the file, its place and the other options.
    """
    if (published := architecture.published) is None:
        raise WeightsError(f"There are no ImageNet weights for {architecture.name}. Use --weights none or a file.")
    file = file_of(published, input_size=input_size, top=top, width_multiplier=width_multiplier)
    return fetch(file, of=architecture.name, source=published.source, progress=progress)


def fetch(file: PublishedFile, *, of: str, source: str, progress: Progress | None = None) -> Path:
    """Returns a published file from Keras' cache, downloading it when it is not there, or not whole.

    Args:
        file: Which.
        of: The base that it is for.
        source: The constructor that it is for.
        progress: Shows a bar.

    Raises:
        DownloadError: it can't be had; the message names the file, its place and the other options.
    """
    try:
        if not (file.path.is_file() and _flaw(file.path, file) is None):
            _download(file, progress or Progress())
    except (OSError, http.client.HTTPException) as err:  # urllib's own errors are OSErrors
        reason = (str(err).strip() or type(err).__name__).splitlines()[0]
        raise DownloadError(
            f"The ImageNet weights of {of} could not be downloaded ({reason}).\n"
            f"Do one of these:\n"
            f"  - fetch {file.url}\n    on a machine with a network and put it at {file.path}\n"
            f"  - pass a file that you have: --weights PATH (of {source}, or of tlkit itself)\n"
            f"  - train without pretrained weights: --weights none --freeze none"
        ) from err
    return file.path


def _download(file: PublishedFile, progress: Progress) -> None:
    """Downloads to a temporary name; only what is whole gets the file's own."""
    with urllib.request.urlopen(file.url, timeout=_PATIENCE) as answer:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file.path) as temporary:
            _receive(answer, temporary, progress)
            if flaw := _flaw(temporary, file):
                raise OSError(f"what came {flaw}")


def _receive(answer: http.client.HTTPResponse, path: Path, progress: Progress) -> None:
    expected, received = int(answer.headers.get("Content-Length") or 0), 0
    with progress.bar("Downloading weights", expected // 1000, "kB") as bar, path.open("wb") as out:
        while chunk := answer.read(_CHUNK):
            out.write(chunk)
            bar.advance((received + len(chunk)) // 1000 - received // 1000)
            received += len(chunk)
    if received < expected:
        raise OSError(f"the connection ended after {received:,} of {expected:,} bytes")


def _flaw(path: Path, published: PublishedFile) -> str | None:
    """Says why a file can't be the published one, or None."""
    for algorithm, stated in (("md5", published.md5), ("sha256", published.sha256)):
        if stated is None:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if not found.startswith(stated):
            return f"has the {algorithm.upper()} {found}, not {stated}{'...' if len(stated) < len(found) else ''}"
    if published.md5 is None and published.sha256 is None:
        import h5py

        try:
            h5py.File(path, "r").close()  # it knows its own length
        except OSError:
            return "is no whole HDF5 file"
    return None
