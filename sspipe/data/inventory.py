"""Which tiles there are, which of them can be used, and why the others cannot: from names alone, nothing is read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from sspipe.data import spacenet6
from sspipe.data.inspection import FETCH_AGAIN, Problem
from sspipe.errors import UserError
from sspipe.log import counted

LISTED_TILES = 10
NO_SAR = "no SAR image"
NO_EO = "no EO image"
NO_LABELS = "no label file"
NO_ORIENTATION = "its strip has no line in SAR_orientations.txt"
DUPLICATE = "the same tile is there under another spelling of its number"
PUBLIC_TEST = "of the public test set: SAR alone, without labels"
REMEDIES = {
    NO_SAR: FETCH_AGAIN,
    NO_EO: FETCH_AGAIN,
    NO_LABELS: f"{FETCH_AGAIN}; a tile without buildings has an empty file",
    NO_ORIENTATION: "add a line `{strip} 0` (imaged from the north) or `{strip} 1` (from the south)",
    DUPLICATE: "remove one of them",
    PUBLIC_TEST: "take the training archive (archive.key or archive.path)",
}


class LeftOut(NamedTuple):
    """A tile that is not used."""

    tile_id: str
    reasons: tuple[str, ...]  # keys of REMEDIES, at least one


class Inventory(NamedTuple):
    """The tiles under raw/."""

    tiles: list[str]  # to be used, sorted
    left_out: list[LeftOut]  # sorted by tile id
    orientations: dict[str, int]  # of each strip that the table names
    other_files: list[str]  # relative to raw/, of names that mean nothing here

    @property
    def share_left_out(self) -> float:
        """Of all tiles that there are."""
        return len(self.left_out) / max(1, len(self.tiles) + len(self.left_out))


def take_inventory(raw: Path) -> Inventory:
    """Lists the tiles under raw/.

    Raises:
        UserError: the table of orientations is missing, or a line of it cannot be used.
    """
    orientations = _read_orientations(raw)
    files, other = {}, []
    test_tiles: set[str] = set()
    for product in (spacenet6.SAR, spacenet6.EO, spacenet6.LABELS):
        files[product.folder], strange = spacenet6.tiles_in(raw, product)
        for path in strange:
            tile_id = spacenet6.public_test_tile(path.name)
            if tile_id:
                test_tiles.add(tile_id)
            else:
                other.append(str(path.relative_to(raw)))
    sar, eo, labels = (set(found) for found in files.values())
    known = sorted(sar | eo | labels)
    twice = _duplicates(known)
    usable, left_out = [], [LeftOut(tile_id, (PUBLIC_TEST,)) for tile_id in test_tiles - set(known)]
    for tile_id in known:
        found = {
            NO_SAR: tile_id not in sar,
            NO_EO: tile_id not in eo,
            NO_LABELS: tile_id not in labels,
            NO_ORIENTATION: spacenet6.strip_of(tile_id) not in orientations,
            DUPLICATE: tile_id in twice,
        }
        reasons = tuple(reason for reason, holds in found.items() if holds)
        if reasons:
            left_out.append(LeftOut(tile_id, reasons))
        else:
            usable.append(tile_id)
    return Inventory(usable, sorted(left_out), orientations, other)


def refuse_too_many_left_out(raw: Path, inventory: Inventory, max_left_out: float) -> None:
    """Raises UserError if no tile is left, or if more than a share of `max_left_out` is left out."""
    if not inventory.tiles and not inventory.left_out:
        folder = raw / spacenet6.FOLDER / spacenet6.SAR.folder
        example = spacenet6.file_name(spacenet6.SAR, "20190804111224_20190804111453_tile_8679")
        raise UserError(f"{folder}: there are no SAR tiles; expected files such as {example}; unpack the archive again")
    if inventory.tiles and inventory.share_left_out <= max_left_out:
        return
    count, total = len(inventory.left_out), len(inventory.tiles) + len(inventory.left_out)
    lines = [f"  {each.tile_id}: {', '.join(each.reasons)}" for each in inventory.left_out[:LISTED_TILES]]
    if count > LISTED_TILES:
        lines.append(f"  ... and {count - LISTED_TILES} more")
    lines += [
        f"{reason} ({counted(many, 'tile')}): {REMEDIES[reason]}"
        for reason, many in reasons_of(inventory.left_out).items()
    ]
    if inventory.tiles:
        lines.append("or, to go on without these tiles, raise tiles.max_left_out")
    raise UserError(
        f"{raw}: {count} of {total} tiles cannot be used, more than tiles.max_left_out allows "
        f"({100 * max_left_out:g} %), so this is no accident:\n" + "\n".join(lines)
    )


def reasons_of(left_out: list[LeftOut]) -> dict[str, int]:
    """How many tiles are left out for each reason, most first; a tile may have several."""
    return dict(Counter(reason for each in left_out for reason in each.reasons).most_common())


def _duplicates(tile_ids: list[str]) -> set[str]:
    """Tiles of one strip and number whose ids are written differently, such as tile_7 and tile_07.

    The one that is written as SpaceNet writes it, without leading zeros, is no duplicate.
    """
    spelled: dict[str, list[str]] = {}
    for tile_id in tile_ids:
        plain = spacenet6.tile_id_of(spacenet6.strip_of(tile_id), spacenet6.number_of(tile_id))
        spelled.setdefault(plain, []).append(tile_id)
    return {
        tile_id
        for plain, spellings in spelled.items()
        for tile_id in spellings
        if tile_id != (plain if plain in spellings else spellings[0])
    }


def _read_orientations(raw: Path) -> dict[str, int]:
    name = str(spacenet6.ORIENTATION_FILE)
    try:
        # Without a byte order mark, which would make the first strip another one.
        text = (raw / name).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        missing = Problem(
            name, f"cannot be read ({error.strerror})", "the table of strips and their orientation", FETCH_AGAIN
        )
        raise UserError(f"{raw}: {missing}") from None
    orientations, lines = spacenet6.parse_orientations(text)
    if lines:
        problems = [f"{name}: {line}; correct the line" for line in lines]
        more = [f"... and {len(lines) - LISTED_TILES} more"] if len(lines) > LISTED_TILES else []
        raise UserError(f"{raw}:\n  " + "\n  ".join([*problems[:LISTED_TILES], *more]))
    return orientations
