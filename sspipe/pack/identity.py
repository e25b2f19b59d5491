"""What makes two packs the same: the checksums of what their files hold, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sspipe import checksum
from sspipe.errors import UserError
from sspipe.files import read_json


def pack_digest(manifests: Sequence[Path]) -> str:
    """Names a pack by its contents.

    Args:
        manifests: `pack/{shard}/manifest.json` of every shard, in order.

    Returns:
        16 hexadecimal digits.

    Raises:
        UserError: a manifest lists no files with checksums.
    """
    digest = checksum.new()
    for manifest in manifests:
        content = read_json(manifest)
        try:
            files = sorted((name, about[checksum.NAME]) for name, about in content["files"].items())
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{manifest}: not a shard's manifest ({error!r}); delete the shard's folder and run `data` again"
            ) from None
        digest.update(repr(files).encode())
    return digest.hexdigest()[:16]
