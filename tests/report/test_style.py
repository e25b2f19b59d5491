"""SVG as pages hold it: small, and still the same drawing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from sspipe.report import style

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def svg() -> str:
    figure = Figure(figsize=(4, 3))
    axis = figure.subplots()
    axis.plot(np.linspace(0, 1, 50), np.random.default_rng(0).uniform(size=50), marker="o")
    axis.imshow(np.eye(3), extent=(0, 1, 0, 1))
    axis.annotate("0.123456", (0.5, 0.5), rotation=30)
    axis.set_ylabel("upright")
    return style.svg_text(figure)


def test_a_slim_drawing_is_still_sound(svg):
    root = ElementTree.fromstring(svg)
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert ids and len(ids) == len(set(ids))
    assert {name for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg) for name in pair if name} == set(ids)


def test_printed_numbers_keep_their_digits(svg):
    texts = {node.text: node for node in ElementTree.fromstring(svg).iter(f"{SVG}text")}
    assert "0.123456" in texts
    assert "rotate(-30" in texts["0.123456"].get("transform")
    assert "rotate(-90" in texts["upright"].get("transform")


def test_lines_are_drawn_to_a_hundredth_of_a_point(svg):
    paths = [node.get("d") for node in ElementTree.fromstring(svg).iter(f"{SVG}path")]
    numbers = [number for path in paths for number in re.findall(r"\d+\.(\d+)", path)]
    assert len(numbers) > 100 and max(len(digits) for digits in numbers) == 2
