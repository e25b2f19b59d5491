from __future__ import annotations

import gzip
import hashlib
import json
import tarfile

import pytest

from sspipe.data import spacenet6
from sspipe.data.archive import unpack_archive
from sspipe.errors import UserError
from tests.data.small_scene import TILE_IDS, pack_archive, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two tiles, with a product that is not in use."""
    raw = write_scene(tmp_path_factory.mktemp("scene"), TILE_IDS[:2])
    sar = raw / spacenet6.file_path(spacenet6.SAR, TILE_IDS[0])
    pan = raw / spacenet6.file_path(spacenet6.PAN, TILE_IDS[0])
    pan.parent.mkdir()
    pan.write_bytes(sar.read_bytes())
    return raw


def unpack(archive):
    folder = archive.parent
    unpack_archive(archive=archive, out=folder / "raw", manifest=folder / "raw.json")
    return json.loads((folder / "raw.json").read_text())


def refusal(archive):
    """The message of an archive that must be refused, after which nothing may lie beside it."""
    with pytest.raises(UserError) as error:
        unpack(archive)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert str(archive) in str(error.value)
    return str(error.value)


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


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


def test_harmless_members_of_unknown_name_are_ignored_and_counted(scene, tmp_path):
    extra = [(member("./train/AOI_11_Rotterdam/readme.txt"), b"hello"), (member("./._junk"), b"")]
    manifest = unpack(pack_archive(scene, tmp_path / "archive.tar.gz", extra))
    assert manifest["unknown"]["members"] == 2
    assert "./._junk" in manifest["unknown"]["names"]
    assert not list((tmp_path / "raw").rglob("readme.txt"))


SAR_NAME = f"./{spacenet6.file_path(spacenet6.SAR, TILE_IDS[5])}"


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (member("/etc/cron.d/evil"), "absolute"),
        (member("../evil"), "leads out of the folder"),
        (member("./train/../../evil"), "leads out of the folder"),
        (member("./train/AOI_11_Rotterdam/SAR-Intensity/../../../../evil.tif"), "leads out of the folder"),
        (member("../folder", tarfile.DIRTYPE), "leads out of the folder"),
        (member(SAR_NAME, tarfile.SYMTYPE, "/etc/passwd"), "link to `/etc/passwd`"),
        (member(SAR_NAME, tarfile.LNKTYPE, "../../secret"), "link to `../../secret`"),
        (member("./train", tarfile.SYMTYPE, "/tmp"), "link to `/tmp`"),
        (member(SAR_NAME, tarfile.FIFOTYPE), "neither a file nor a folder"),
        (member(SAR_NAME, tarfile.CHRTYPE), "neither a file nor a folder"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_a_member_that_would_leave_the_folder_is_refused_by_name(scene, tmp_path, hostile, reason):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    message = refusal(pack_archive(scene, inner / "archive.tar.gz", [(hostile, b"")]))
    assert f"refused member `{hostile.name}`" in message and reason in message
    assert not list(tmp_path.rglob("evil*"))


def test_a_member_that_occurs_twice_is_refused(scene, tmp_path):
    twice = member(f"./{spacenet6.ORIENTATION_FILE}")
    assert "`SAR_orientations.txt` occurs twice" in refusal(
        pack_archive(scene, tmp_path / "archive.tar.gz", [(twice, b"x 1\n")] * 2)
    )


def test_a_corrupt_checksum_at_the_very_end_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1  # the CRC; its last reader is whoever reads to the end
    archive.write_bytes(content)
    assert "CRC check failed" in refusal(archive)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_archive_is_noticed_and_the_last_member_named(scene, tmp_path, kept):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * kept)])
    message = refusal(archive)
    assert "damaged at or after" in message and "fetch it again" in message


def test_a_missing_gzip_trailer_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-4])
    assert "damaged at or after" in refusal(archive)


def test_a_flipped_bit_in_the_compressed_data_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 16
    archive.write_bytes(content)
    assert "damaged at or after" in refusal(archive)


def test_a_damaged_member_header_is_not_taken_for_the_archives_end(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    with tarfile.open(archive) as members:
        third = members.getmembers()[3].offset
    content = bytearray(gzip.decompress(archive.read_bytes()))
    content[third : third + 8] = b"\xff" * 8
    archive.write_bytes(gzip.compress(bytes(content)))
    assert "bad checksum where a member was expected" in refusal(archive)


def test_an_archive_cut_between_two_members_is_noticed_though_its_gzip_is_whole(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    with tarfile.open(archive) as members:
        third = members.getmembers()[3].offset
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes())[:third]))
    assert "damaged at or after" in refusal(archive)


def test_what_is_no_gzip_is_told(tmp_path):
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(b"<html>404</html>" * 100)
    assert "Not a gzipped file" in refusal(archive)


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


def test_a_refused_archive_leaves_what_an_earlier_run_unpacked(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    unpack(archive)
    before = hashlib.sha256((tmp_path / "raw.json").read_bytes()).digest()
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UserError):
        unpack(archive)
    assert hashlib.sha256((tmp_path / "raw.json").read_bytes()).digest() == before
    assert len(list((tmp_path / "raw").rglob("*.tif"))) == 4
