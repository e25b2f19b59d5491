"""How probabilities become footprints: the four settings of one run, and the file that hands them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.files import read_json


@dataclass(frozen=True)
class PolygonSettings:
    """Settings of `sspipe.predict.instances.tile_polygons`.

    Attributes:
        interior_threshold: a pixel at or above it is building.
        border_threshold: building pixels below it are seeds.
        min_area_px: smaller footprints are dropped, px.
        simplify_px: tolerance of the outline, px; 0 keeps every corner.
    """

    interior_threshold: float
    border_threshold: float
    min_area_px: float
    simplify_px: float

    def as_dict(self) -> dict[str, Any]:
        """The settings by name, as files hold them."""
        return asdict(self)


NAMES = tuple(field.name for field in fields(PolygonSettings))


def all_combinations(values: dict[str, Sequence[float]]) -> list[PolygonSettings]:
    """Every combination of the values, the last name changing fastest.

    Args:
        values: some values for each of `NAMES`.
    """
    return [
        PolygonSettings(**dict(zip(NAMES, chosen, strict=True)))
        for chosen in product(*(values[name] for name in NAMES))
    ]


def read_settings(path: Path) -> PolygonSettings:
    """Reads what `tune_polygons` chose.

    Args:
        path: polygons.json of a run.

    Raises:
        UserError: the file is missing or holds no choice.
    """
    content: Any = read_json(path)
    try:
        return PolygonSettings(**{name: float(content["choice"][name]) for name in NAMES})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: names no settings of footprints ({error!r}); run tune_polygons again") from None
