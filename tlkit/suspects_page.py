"""Suspicious labels as a page to look at: one HTML file that needs nothing else, and runs nothing."""

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

from PIL import Image

from tlkit.errors import ImageError
from tlkit.manifest import write_text
from tlkit.preprocess import glance
from tlkit.progress import Progress
from tlkit.suspects import Suspect, Suspects

# So many are shown; the rest is in the CSV. A thumbnail has about 8 kB.
MOST = 500
_SIDE = 240

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #666; --bad: #c0392b; --good: #1e8449 }
@media (prefers-color-scheme: dark) { :root { --soft: #aaa; --bad: #ff8a7a; --good: #6fd08c } }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 0 .5rem }
p { max-width: 46rem }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem }
ol { padding: 0; list-style: none }
li { border: 1px solid var(--line); border-radius: .5rem; overflow: hidden }
img, .none { display: block; width: 100%; height: 12rem; object-fit: contain; background: #8882 }
.none { line-height: 12rem; text-align: center; color: var(--soft) }
dl { display: grid; grid-template-columns: auto 1fr auto; gap: .1rem .6rem; margin: .6rem .8rem }
dt, small { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere; font-weight: 600 }
dd + dd { font-weight: 400; text-align: right; font-variant-numeric: tabular-nums }
.label { color: var(--bad) }
.seen { color: var(--good) }
small { display: block; margin: 0 .8rem .7rem; overflow-wrap: anywhere }
"""


def save_page(path: Path, found: Suspects, root: Path, progress: Progress | None = None) -> Path:
    """Writes the page, whole or not at all: thumbnails inside, every name escaped.

    Args:
        path: The file.
        found: Suspects whose paths are below `root`; the first 500 are shown.
        root: The folder with the photos.
        progress: Shows a bar.
    """
    shown = found.found[:MOST]
    progress = progress or Progress()
    with progress.bar("Making thumbnails", len(shown)) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        cards = []
        for one, picture in zip(shown, pool.map(lambda one: _thumbnail(root / one.path), shown), strict=True):
            cards.append(_card(one, picture))
            bar.advance()
    write_text(path, _page(found, cards))
    return path


def _page(found: Suspects, cards: Sequence[str]) -> str:
    name = escape(Path(found.run).name)
    looked_at = ", ".join(f"{count:,} {split}" for split, count in found.images.items())
    more = f" The first {len(cards):,} are shown, the rest is in suspects.csv." if len(cards) < len(found.found) else ""
    trained = ""
    if found.images.get("train"):
        trained = " It has partly learned the labels of train by heart, so it contradicts fewer of those."
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Suspicious labels: {name}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{len(found.found):,} suspicious labels</h1>
<p>Run {name}, photos looked at: {looked_at}. The model contradicts these labels with confidence; the clearest come
first.{more} It may be the label that is wrong, or the model: look at each.{trained}</p>
<p>Move a photo with a wrong label into the folder of its class, or out of the folder when it shows none, and train
again.</p>
<ol>
{"".join(cards)}</ol>
</body>
</html>
"""


def _card(one: Suspect, picture: str | None) -> str:
    shown = (
        f'<img src="{picture}" alt="{escape(one.path)}" loading="lazy">'
        if picture
        else '<div class="none">no picture</div>'
    )
    return (
        f"<li>{shown}<dl>"
        f'<dt>label</dt><dd class="label">{escape(one.label)}</dd><dd>{one.label_probability:.1%}</dd>'
        f'<dt>model</dt><dd class="seen">{escape(one.predicted)}</dd><dd>{one.predicted_probability:.1%}</dd>'
        f"</dl><small>{escape(one.path)} ({one.split})</small></li>\n"
    )


def _thumbnail(path: Path) -> str | None:
    """Returns a photo as a `data:` address of a small JPEG; None when it can't be read any more."""
    try:
        image = glance(path, _SIDE).image
    except ImageError:
        return None
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
