"""What was asked for and what was used, in the report."""

import re


def test_every_training_has_its_line_in_how_it_was_made(report):
    page = report.arguments["out"].read_text()
    part = page[page.index("What was asked for and what was used") :]
    rows = re.findall(r"<code>(train/[^<]+)</code>", part[: part.index("</details>")])
    trained = {str(path.parent.relative_to(report.root)) for path in report.files.trains}
    assert set(rows) == trained and len(rows) == len(trained)
