"""Two packs are the same if their files hold the same."""

import shutil

import pytest

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.pack.identity import pack_digest


def test_a_pack_is_known_by_what_it_holds_wherever_it_lies(packed, tmp_path):
    shutil.copytree(packed.root / "pack", tmp_path / "elsewhere")
    copies = [tmp_path / "elsewhere" / str(shard) / "manifest.json" for shard in range(2)]
    assert pack_digest(copies) == pack_digest(packed.manifests)
    manifest = read_json(copies[1])
    manifest["files"]["masks.npy"]["xxh3_128"] = "0" * 32
    write_json(copies[1], manifest)
    assert pack_digest(copies) != pack_digest(packed.manifests)


def test_what_is_no_manifest_is_named(tmp_path):
    write_json(tmp_path / "manifest.json", {"files": {"sar.npy": {}}})
    with pytest.raises(UserError, match=r"manifest\.json: not a shard's manifest"):
        pack_digest([tmp_path / "manifest.json"])
