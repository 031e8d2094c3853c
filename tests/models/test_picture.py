"""The picture of `tlkit summary --compare`."""

import re

import pytest
from PIL import Image

from tlkit.errors import MissingDependencyError, OptionError
from tlkit.models import picture, registry
from tlkit.models.compare import compare, figures


def test_a_png_and_an_svg_are_drawn_and_name_every_architecture(tmp_path):
    pytest.importorskip("matplotlib")
    found = compare(["all"])
    picture.draw(found, tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    assert image.size == (1350, 900)
    assert len(image.convert("RGB").getcolors(1 << 20)) > 50
    picture.draw(found, tmp_path / "a.SVG")
    text = (tmp_path / "a.SVG").read_text()
    named = set(re.findall(r"<!-- (.+?) -->", text))
    drawn = {one.architecture.title for one in found if one.accuracy and one.accuracy.top1}
    assert drawn and drawn <= named
    picture.draw(found, tmp_path / "b.svg")
    assert (tmp_path / "b.svg").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SVG", "a.png", "b.svg"]


def test_names_of_near_neighbours_do_not_cover_each_other():
    pytest.importorskip("matplotlib")
    boxes = []
    circles = [(300.0 + 8 * i, 300.0 + 5 * (i % 3), 30.0) for i in range(12)]

    class Inside:
        x0, y0, x1, y1 = 0, 0, 900, 700

    for x, y, radius in circles:
        places = picture._places(x, y, radius + 6, 90.0, 18.0, 2.0)
        boxes.append(min(places, key=lambda box: picture._cost(box, (x, y, radius), boxes, circles, Inside)))
    shared = [picture._shared(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert max(shared) == 0
    assert all(left >= 0 and bottom >= 0 and right <= 900 and top <= 700 for left, bottom, right, top in boxes)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    monkeypatch.delitem(__import__("sys").modules, "matplotlib.figure", raising=False)
    monkeypatch.delitem(__import__("sys").modules, "matplotlib.backends.backend_agg", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tlkit\[plot\]'"):
        picture.draw(compare(["vgg16", "mobilenet_v2"]), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_what_cant_be_drawn_is_said(tmp_path):
    with pytest.raises(OptionError, match="ends in .png or .svg, not 'a.jpg'"):
        picture.draw(compare(["all"]), tmp_path / "a.jpg")
    with pytest.raises(OptionError, match="None of lenet5 has a published top-1 accuracy"):
        picture.draw([figures(registry.find("lenet5"))], tmp_path / "a.png")
