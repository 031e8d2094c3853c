"""The picture of `tlkit summary --compare`."""

import re

import pytest
from PIL import Image

from tlkit.errors import MissingDependencyError, OptionError
from tlkit.models import picture, registry
from tlkit.models.compare import compare, figures


def test_a_png_and_an_svg_are_drawn_and_name_every_architecture(tmp_path):
    found = compare(["all"])
    picture.draw(found, tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    assert image.size == (1350, 900)
    assert len(image.convert("RGB").getcolors(1 << 20)) > 50
    picture.draw(found, tmp_path / "a.SVG")
    text = (tmp_path / "a.SVG").read_text()
    named = set(re.findall(r"<!-- (.+?) -->", text))
    drawn = {picture.label(one) for one in found if one.accuracy and one.accuracy.top1}
    assert drawn and drawn <= named
    picture.draw(found, tmp_path / "b.svg")
    assert (tmp_path / "b.svg").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SVG", "a.png", "b.svg"]


def test_names_of_near_neighbours_do_not_cover_each_other():
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


def test_a_broken_matplotlib_is_a_sentence(tmp_path, monkeypatch):
    def broken(name):
        raise ImportError("libz.so.1: cannot open shared object file")

    monkeypatch.setattr(picture.importlib, "import_module", broken)
    with pytest.raises(
        MissingDependencyError, match=r"matplotlib is installed but can't be imported \(libz.so.1: .*anew"
    ):
        picture.check(tmp_path / "a.png")


def test_a_name_has_a_line_unless_it_touches_its_circle_and_no_other_does():
    own, other = (100.0, 100.0, 20.0), (130.0, 100.0, 15.0)
    touching, far = (124.0, 95.0, 180.0, 105.0), (150.0, 95.0, 200.0, 105.0)
    assert not picture.needs_line(touching, own, [own], 2.0)
    assert picture.needs_line(far, own, [own], 2.0)
    assert picture.needs_line(touching, own, [own, other], 2.0)


def test_lines_cross_boxes_and_each_other():
    across, beside = ((0.0, 0.0), (10.0, 10.0)), ((0.0, 1.0), (9.0, 10.0))
    assert picture._crosses(across, (4.0, 4.0, 6.0, 6.0)) and not picture._crosses(across, (4.0, 0.0, 6.0, 3.0))
    assert not picture._crosses(across, (11.0, 11.0, 12.0, 12.0))
    assert picture._meet(across, ((0.0, 10.0), (10.0, 0.0))) and not picture._meet(across, beside)


def test_every_name_in_the_picture_touches_its_circle_or_has_a_line(tmp_path, monkeypatch):
    answers = []
    real = picture.needs_line

    def noted(box, own, circles, pixels):
        x, y = picture._line(box, own)[1]
        touches = ((x - own[0]) ** 2 + (y - own[1]) ** 2) ** 0.5 <= own[2] + 8
        answers.append((touches, real(box, own, circles, pixels)))
        return answers[-1][1]

    monkeypatch.setattr(picture, "needs_line", noted)
    picture.draw(compare(["all"]), tmp_path / "a.png")
    assert len(answers) > 20 and all(touches or line for touches, line in answers)
    assert {line for _, line in answers} == {True, False}


def test_averages_are_rings_and_the_legend_says_so(tmp_path):
    full, ring = (picture._LEGEND[one].splitlines()[0] for one in (True, False))
    for names, expected in (
        (["alexnet", "mobilenet_v2"], {full, ring}),
        (["alexnet", "vgg16"], {ring}),
        (["mobilenet_v1", "mobilenet_v2"], {full}),
    ):
        picture.draw(compare(names), tmp_path / "a.svg")
        text = (tmp_path / "a.svg").read_text()
        assert {one for one in (full, ring) if f"<!-- {one}" in text} == expected
        assert ("fill: none; stroke: #1f77b4" in text) is (ring in expected)


def test_what_is_not_drawn_is_returned(tmp_path):
    left_out = picture.draw(compare(["vgg16", "lenet5", "googlenet"]), tmp_path / "a.png")
    assert [one.architecture.name for one in left_out] == ["lenet5", "googlenet"]


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    monkeypatch.delitem(__import__("sys").modules, "matplotlib.figure", raising=False)
    monkeypatch.delitem(__import__("sys").modules, "matplotlib.backends.backend_agg", raising=False)
    with pytest.raises(MissingDependencyError, match=r"^matplotlib is not installed.*pip install 'tlkit\[plot\]'"):
        picture.draw(compare(["vgg16", "mobilenet_v2"]), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_what_cant_be_drawn_is_said(tmp_path):
    with pytest.raises(OptionError, match="ends in .png or .svg, not 'a.jpg'"):
        picture.draw(compare(["all"]), tmp_path / "a.jpg")
    (tmp_path / "b.png").mkdir()
    (tmp_path / "c").write_text("")
    for place, message in (
        ("b.png", "is a folder. Give"),
        ("no/a.png", "There is no folder"),
        ("c/a.png", "is no folder"),
    ):
        with pytest.raises(OptionError, match=message):
            picture.draw(compare(["all"]), tmp_path / place)
    with pytest.raises(OptionError, match="None of lenet5 has a published top-1 accuracy"):
        picture.draw([figures(registry.find("lenet5"))], tmp_path / "a.png")
