"""Unpacking: what is written of which archives, and what is told of others."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import tarfile

import numpy as np
import pytest

from sspipe.data import archive as archive_module
from sspipe.data import spacenet6
from sspipe.data.byte_progress import human_bytes
from sspipe.errors import UserError
from tests.data.small_archive import member, refusal, scene, unpack
from tests.data.small_scene import TILE_IDS, pack_archive

__all__ = ["scene"]  # a fixture


def test_products_in_use_are_unpacked_byte_by_byte_and_the_others_passed_over(scene, tmp_path):
    manifest = unpack(pack_archive(scene, tmp_path / "archive.tar.gz"))
    files = {path.relative_to(tmp_path / "raw"): path for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    expected = {path.relative_to(scene): path for path in scene.rglob("*") if path.is_file()}
    left_out = [path for path in expected if "PAN" in path.parts]
    assert files.keys() == expected.keys() - set(left_out)
    assert all(path.read_bytes() == expected[name].read_bytes() for name, path in files.items())
    assert {name: entry["members"] for name, entry in manifest["products"].items()} == {
        "SAR-Intensity": 2,
        "PS-RGBNIR": 2,
        "geojson_buildings": 2,
        "SummaryData": 2,
    }
    assert sum(entry["bytes"] for entry in manifest["products"].values()) == sum(
        f.stat().st_size for f in files.values()
    )
    assert manifest["skipped"]["PAN"] == {"members": 1, "bytes": expected[left_out[0]].stat().st_size}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.tar.gz", "raw", "raw.json"]


def test_the_manifest_says_which_archive_it_was(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    manifest = unpack(archive)
    assert manifest["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert manifest["bytes"] == archive.stat().st_size


def test_harmless_members_of_unknown_name_are_ignored_and_counted(scene, tmp_path):
    extra = [(member("./train/AOI_11_Rotterdam/readme.txt"), b"hello"), (member("./._junk"), b"")]
    manifest = unpack(pack_archive(scene, tmp_path / "archive.tar.gz", extra))
    assert manifest["unknown"]["members"] == 2
    assert "./._junk" in manifest["unknown"]["names"]
    assert not list((tmp_path / "raw").rglob("readme.txt"))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04" + b"x" * 600, "a zip file"),
        (b"<html>404</html>" * 100, "something else"),
        (tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT), "a plain tar"),
    ],
    ids=["empty", "zip", "html", "tar"],
)
def test_what_is_no_gzip_is_told(tmp_path, content, kind):
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(content)
    assert f"Not a gzipped file but {kind}" in refusal(archive)


def test_a_gzip_in_several_parts_is_read_as_one(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = gzip.decompress(archive.read_bytes())
    parts = [content[:100_000], content[100_000:150_000], content[150_000:]]
    archive.write_bytes(b"".join(gzip.compress(part) for part in parts))
    assert unpack(archive)["products"]["SAR-Intensity"]["members"] == 2


def test_the_public_test_archive_is_told_at_its_first_file(tmp_path):
    raw, folder = tmp_path / "raw", tmp_path / "work"
    folder.mkdir()
    image = (
        raw
        / "train/AOI_11_Rotterdam/SAR-Intensity"
        / f"SN6_Test_Public_{spacenet6.AREA}_SAR-Intensity_{TILE_IDS[0]}.tif"
    )
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    (image.parent / "z.tif").write_bytes(np.random.default_rng(0).bytes(600_000))
    archive = pack_archive(raw, folder / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes()[:400_000])  # nothing far behind its first file is asked for
    assert "public test archive (SAR alone, without labels)" in refusal(archive)


def test_a_link_to_the_archive_is_as_good(scene, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    archive = tmp_path / "archive.tar.gz"
    archive.symlink_to(pack_archive(scene, tmp_path / "elsewhere" / "sn6.tar.gz"))
    assert unpack(archive)["products"]["SAR-Intensity"]["members"] == 2


def test_a_disk_that_is_too_small_is_told_before_anything_is_read(scene, tmp_path, monkeypatch):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    needed = int(1.6 * archive.stat().st_size)  # 66.1 GB of the real 41.9 GB are used
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archive_module.shutil, "disk_usage", lambda path: free._replace(free=needed - 1))
    message = refusal(archive)
    assert str(tmp_path) in message and f"about {human_bytes(needed)}" in message and "free some space" in message
    monkeypatch.setattr(archive_module.shutil, "disk_usage", lambda path: free._replace(free=needed))
    unpack(archive)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_on_the_way_is_told_and_nothing_is_left(scene, tmp_path, monkeypatch, code):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")

    def fill(content, handle, length):
        handle.write(content.read(100))
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(archive_module.shutil, "copyfileobj", fill)
    with pytest.raises(UserError, match="the disk is full; free some space and run again"):
        unpack(archive)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_another_archive_is_told_from_spacenets(scene, tmp_path):
    other = tmp_path / "other"
    (other / "train" / "images").mkdir(parents=True)
    (other / "train" / "images" / "a.tif").write_bytes(b"")
    folder = tmp_path / "work"
    folder.mkdir()
    message = refusal(pack_archive(other, folder / "archive.tar.gz"))
    assert "holds no SAR-Intensity, PS-RGBNIR, geojson_buildings, SummaryData" in message


def test_a_missing_archive_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        unpack(tmp_path / "archive.tar.gz")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_archives_place_is_told(tmp_path):
    (tmp_path / "archive.tar.gz").mkdir()
    assert "is a folder, expected the archive itself" in refusal(tmp_path / "archive.tar.gz")
