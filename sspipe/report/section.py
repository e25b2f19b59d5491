"""One section of the comparison report: what every section gives to the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        anchor: id of the heading, once on the page.
        link: words of the link at the page's top.
        heading: the heading's own words.
        template: file in `templates/` that turns `content` into HTML.
        content: what the template reads, as `content`.
    """

    anchor: str
    link: str
    heading: str
    template: str
    content: dict[str, Any] = field(default_factory=dict)
