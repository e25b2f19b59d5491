"""Figures on a page, and what is saved beside them."""

import html

import pandas as pd
from docutils.core import publish_parts
from matplotlib.figure import Figure

from sspipe.report.drawing import as_restructured_text, saved_drawing

# Everything that reStructuredText takes for markup, and a list's beginning.
ODD = "1. *F1* of ss_rsc_shared_ and `x`_ |y| [1]_ :ref:`z` **bold** ``code`` - a -- b .. note:: c\\d http://e.f <g> &"


def published(text):
    body = publish_parts(text, writer="html")["body"]
    assert body.count("<p>") == 1 and body.startswith("<p>")
    return html.unescape(body.removeprefix("<p>").removesuffix("</p>\n"))


def test_captions_survive_restructured_text_as_they_are():
    assert published(as_restructured_text(ODD)) == ODD
    assert published(as_restructured_text("in two\n  lines")) == "in two lines"


def test_numbers_and_caption_lie_beside_a_figure(tmp_path):
    table = pd.DataFrame({"share": [0.25, 0.5]})

    def draw(width_in):
        figure = Figure((width_in, 2))
        figure.subplots().plot(table["share"])
        return figure

    drawing = saved_drawing(tmp_path, "leakage", draw, table, "A line.", "How much_ was *seen*.")
    assert {path.name for path in tmp_path.iterdir()} == {"leakage.svg", "leakage.csv", "leakage.rst"}
    assert published((tmp_path / "leakage.rst").read_text()) == drawing.caption == "How much_ was *seen*."
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / drawing.data.removeprefix("figures/")), table)
