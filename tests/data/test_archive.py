from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import threading
import tracemalloc
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sspipe.data import archive as archive_module
from sspipe.data import spacenet6
from sspipe.data.archive import BLOCK, WANTED, unpack_archive
from sspipe.data.byte_progress import MIB, human_bytes
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


@pytest.fixture(scope="module")
def long_archive(scene, tmp_path_factory):
    """An archive of several blocks: its bytes, and where each of its members ends in the tar."""
    raw = tmp_path_factory.mktemp("long") / "raw"
    shutil.copytree(scene, raw)
    for index, tile_id in enumerate(TILE_IDS):
        content = np.random.default_rng(index).bytes(300_000)
        (raw / spacenet6.file_path(spacenet6.EO, tile_id)).write_bytes(content)
    archive = pack_archive(raw, raw.parent / "archive.tar.gz")
    with tarfile.open(archive) as members:
        ends = {member.name: member.offset_data + member.size for member in members.getmembers()}
    return archive.read_bytes(), ends


@pytest.mark.parametrize("kept", [0.002, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_a_truncated_archive_is_noticed_and_the_last_member_named(long_archive, tmp_path, kept):
    content, ends = long_archive
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(content[: int(len(content) * kept)])
    message = refusal(archive)
    assert "damaged, as was noticed" in message and "fetch it again" in message
    named = re.search(r"member,? `(.*?)`", message)[1]
    there = len(zlib.decompressobj(31).decompress(archive.read_bytes()))
    # The member named is the one in which the bytes end, or one that a block less would have ended in.
    assert ends["./" + named.removeprefix("./")] > there - BLOCK - 1024


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["cut", "flip", "zeros", "garbage"]))
def test_no_damage_passes_for_a_whole_archive(long_archive, place, kind):
    threads = threading.active_count()
    content = bytearray(long_archive[0])
    at = int(place * len(content))
    if kind == "cut":
        content = content[:at]
    elif kind == "flip":
        content[at] ^= 1 << at % 8
    elif kind == "zeros":
        content[at : at + 600] = bytes(len(content[at : at + 600]))
    else:
        content += b"garbage" + content[:at]
    if bytes(content) == long_archive[0]:
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive.tar.gz"
        archive.write_bytes(content)
        if 3 < at < 22 and kind == "flip":  # the gzip header's time and file name: not part of the content
            with contextlib.suppress(UserError):
                unpack(archive)
        else:
            refusal(archive)
    assert threading.active_count() == threads


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_the_headers_ends_in_one_message_or_in_files_of_known_names(scene, small_tar, data):
    content = bytearray(small_tar)
    for _ in range(data.draw(st.integers(1, 3))):
        header = data.draw(st.sampled_from(headers_of(small_tar)))
        start, length = data.draw(
            st.sampled_from([(0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)])
        )
        place = data.draw(st.integers(0, length - 1))
        content[header + start + place] = data.draw(st.sampled_from([*b"/.\0157KLSxgDV\xff\x80\n"]))
        with_checksum(content, header)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "inner" / "archive.tar.gz"
        archive.parent.mkdir()
        archive.write_bytes(gzip.compress(bytes(content), 1))
        try:
            unpack(archive)
        except UserError as error:
            assert str(archive) in str(error)
            assert [path.name for path in archive.parent.iterdir()] == [archive.name]
        else:
            files = [path for path in (archive.parent / "raw").rglob("*") if not path.is_dir()]
            names = [path.relative_to(archive.parent / "raw") for path in files]
            assert all(spacenet6.product_of(PurePosixPath(name)) in WANTED for name in names)
            assert all(path.is_file() and not path.is_symlink() for path in files)
        assert [path.name for path in Path(folder).iterdir()] == ["inner"]


@pytest.fixture(scope="module")
def small_tar(scene, tmp_path_factory):
    """A tar of labels and tables alone, so that headers are a large part of it."""
    raw = tmp_path_factory.mktemp("small") / "raw"
    shutil.copytree(scene, raw, ignore=shutil.ignore_patterns("*.tif"))
    return gzip.decompress(pack_archive(raw, raw.parent / "archive.tar.gz").read_bytes())


def headers_of(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as members:
        return [member.offset for member in members.getmembers()]


def with_checksum(content, header):
    """Makes a changed header's checksum right again."""
    content[header + 148 : header + 156] = b" " * 8
    content[header + 148 : header + 156] = b"%06o\0 " % sum(content[header : header + 512])


def test_a_missing_gzip_trailer_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-4])
    assert "damaged, as was noticed" in refusal(archive)


def test_a_flipped_bit_in_the_compressed_data_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = archive.read_bytes()

    def flipped(place: int) -> bytes:
        return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]

    def matters(place: int) -> bool:  # a few bits only fill bytes up, and mean nothing
        try:
            return gzip.decompress(flipped(place)) != gzip.decompress(content)
        except (EOFError, OSError, zlib.error):
            return True

    archive.write_bytes(flipped(next(place for place in range(len(content) // 2, len(content)) if matters(place))))
    assert "damaged, as was noticed" in refusal(archive)


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
    assert "damaged, as was noticed" in refusal(archive)


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


def test_a_second_archive_behind_the_first_is_noticed(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes() * 2)
    assert "data follow the archive's end" in refusal(archive)


def test_a_zeroed_header_is_not_taken_for_the_archives_end(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    content = bytearray(gzip.decompress(archive.read_bytes()))
    third = headers_of(bytes(content))[3]
    content[third : third + 512] = bytes(512)
    archive.write_bytes(gzip.compress(bytes(content)))
    assert "data follow the archive's end" in refusal(archive)


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ({"size": 2**40}, "its size is given as 1099511627776 bytes"),
        ({"pax_headers": {"size": str(2**62)}}, "its size is given as"),
        ({"pax_headers": {"path": "../evil"}}, "leads out of the folder"),
        ({"pax_headers": {"path": "/tmp/evil"}}, "absolute"),
        ({"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**50)}}, ""),
        ({"pax_headers": {"GNU.sparse.map": "0,1,1099511627776,1", "GNU.sparse.size": str(2**41)}}, "sparse"),
        ({"type": tarfile.GNUTYPE_SPARSE}, ""),
        ({"type": tarfile.GNUTYPE_LONGNAME, "size": 2**40}, "a header of 1099511627776 bytes"),
        ({"type": tarfile.XHDTYPE, "size": 2**40}, "a header of 1099511627776 bytes"),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else "",
)
def test_headers_that_claim_what_cannot_be_are_refused(scene, tmp_path, hostile, reason):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    archive = pack_archive(scene, inner / "archive.tar.gz")
    content = gzip.decompress(archive.read_bytes())
    info = tarfile.TarInfo(SAR_NAME)
    for name, value in hostile.items():
        setattr(info, name, value)
    header = info.tobuf(tarfile.PAX_FORMAT if "pax_headers" in hostile else tarfile.GNU_FORMAT)
    archive.write_bytes(gzip.compress(header + content))
    assert reason in refusal(archive)
    assert not list(tmp_path.rglob("evil*"))


def test_a_thousand_headers_one_in_the_other_are_refused(scene, tmp_path):
    archive = pack_archive(scene, tmp_path / "archive.tar.gz")
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 5
    nested = (info.tobuf() + b"name\0".ljust(512, b"\0")) * 1000
    archive.write_bytes(gzip.compress(nested + gzip.decompress(archive.read_bytes())))
    assert "damaged" in refusal(archive)


def test_names_in_another_case_are_not_those_of_the_products(scene, tmp_path):
    extra = [(member(f"./{spacenet6.ORIENTATION_FILE}".upper()), b"x 1\n"), (member(SAR_NAME.lower()), b"x")]
    assert unpack(pack_archive(scene, tmp_path / "archive.tar.gz", extra))["unknown"]["members"] == 2


def test_names_that_a_terminal_would_act_on_are_shown_escaped(scene, tmp_path):
    message = refusal(pack_archive(scene, tmp_path / "archive.tar.gz", [(member("../\x1b[2Jevil\n"), b"")]))
    assert "`../\\x1b[2Jevil\\n`" in message


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


def test_memory_stays_small_however_many_members_there_are(tmp_path):
    archive = tmp_path / "archive.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as stream:
        for number in range(20_000):
            stream.write(member(f"./junk/{number}").tobuf())
        stream.write(bytes(1024))
    tracemalloc.start()
    with pytest.raises(UserError, match="holds no SAR-Intensity"):
        unpack(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MIB  # their headers alone would be 30 MiB


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
