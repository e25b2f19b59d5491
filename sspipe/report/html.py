"""Turning templates into self-contained pages: styles and drawings stand in them, and nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import sspipe
from sspipe.files import whole_file
from sspipe.report import style

HERE = Path(__file__).parent


def write_page(template: str, context: dict[str, Any], filters: dict[str, Any], out: Path) -> int:
    """Writes a page.

    Args:
        template: its file name, in this folder.
        context: what the template names, besides the style sheet, the colours and the version.
        filters: formatting functions of the template.
        out: the page.

    Returns:
        bytes written.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=False, lstrip_blocks=True
    )
    environment.filters |= filters
    html = environment.get_template(template).render(
        # The style sheet is ours and holds quotes that must not be escaped.
        css=Markup((HERE / "page.css").read_text()),
        colours=Markup(_colour_variables()),
        version=sspipe.__version__,
        **context,
    )
    with whole_file(Path(out)) as partial:
        partial.write_text(html)
    return len(html.encode())


def _colour_variables() -> str:
    light = " ".join(f"--{name}: {value};" for name, (value, _) in style.PALETTE.items())
    dark = " ".join(f"--{name}: {value};" for name, (_, value) in style.PALETTE.items())
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )
