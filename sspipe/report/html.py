"""Turning templates into self-contained pages: styles and drawings stand in them, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import sspipe
from sspipe.files import whole_file
from sspipe.report import style

TEMPLATES = Path(__file__).parent / "templates"


def write_page(
    template: str,
    context: dict[str, Any],
    filters: dict[str, Any],
    out: Path,
    styles: Sequence[str] = ("page.css",),
    scripts: Sequence[str] = (),
) -> int:
    """Writes a page.

    Args:
        template: its file name, in `templates/`.
        context: what the template names, besides the style sheets, the scripts, the colours and the version.
        filters: formatting functions of the template.
        out: the page.
        styles: style sheets in `templates/`, in this order.
        scripts: scripts in `templates/`, in this order.

    Returns:
        bytes written.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    html = environment.get_template(template).render(
        # Style sheets and scripts are ours and hold quotes that must not be escaped.
        css=_together(styles),
        script=_together(scripts),
        colours=Markup(_colour_variables()),
        version=sspipe.__version__,
        **context,
    )
    with whole_file(Path(out)) as partial:
        partial.write_text(html)
    return len(html.encode())


def _together(names: Sequence[str]) -> Markup:
    return Markup("\n".join((TEMPLATES / name).read_text() for name in names))


def _colour_variables() -> str:
    light = " ".join(f"--{name}: {value};" for name, (value, _) in style.PALETTE.items())
    dark = " ".join(f"--{name}: {value};" for name, (_, value) in style.PALETTE.items())
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )
