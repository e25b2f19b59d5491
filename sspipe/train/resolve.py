"""A variant's resolved settings as a file of its own, so that editing one variant re-runs that variant alone."""

from __future__ import annotations

import json
from pathlib import Path

from sspipe.errors import UserError
from sspipe.files import write_json
from sspipe.validation import validated
from sspipe.variants import Variant


def resolve_variant(*, settings: str, out: Path) -> None:
    """Writes the settings with every default filled in: the stage `resolve-variant`.

    Args:
        settings: JSON text of the variant.
        out: JSON file, which training takes as its input.

    Raises:
        UserError: the text does not describe a variant.
    """
    try:
        content = json.loads(settings)
    except json.JSONDecodeError as error:
        raise UserError(f"--settings is not JSON: {error}") from None
    write_json(out, validated(Variant, content, "the variant").model_dump(mode="json"))
