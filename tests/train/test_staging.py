"""Staging: verified copies on a local disk, shared by the runs of a node, gone with the last of them."""

import fcntl
import multiprocessing
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.train import staging
from sspipe.train.dataset import PackedTiles
from sspipe.train.staging import scratch_folder, staged


def copied(scratch):
    return sorted(str(path.relative_to(scratch)).split("/", 1)[1] for path in scratch.rglob("*.npy"))


def use(*arguments):
    with staged(*arguments):
        pytest.fail("the copy was used")


def test_only_the_arrays_that_the_run_reads_are_copied_and_tiles_come_from_the_copies(packed, tmp_path):
    with staged(packed.manifests, ("sar", "masks"), tmp_path) as places:
        assert copied(tmp_path) == ["0/masks.npy", "0/sar.npy", "1/masks.npy", "1/sar.npy"]
        tiles = PackedTiles(packed.manifests, packed.tile_ids, places)
        there = PackedTiles(packed.manifests, packed.tile_ids)
        assert np.array_equal(tiles.row(9, "sar"), there.row(9, "sar"))
        changed = tmp_path / places[packed.manifests[1].parent] / "sar.npy"
        os.truncate(changed, 1000)  # so it is the copy that is read
        with pytest.raises(UserError, match="was changed"):
            tiles.row(9, "sar")
    assert list(tmp_path.iterdir()) == []


def test_without_a_scratch_folder_nothing_is_copied(packed):
    with staged(packed.manifests, ("sar",), None) as places:
        assert places == {}


def test_auto_is_tmpdir_and_says_so_where_there_is_none():
    assert scratch_folder(None, {}) is None
    assert scratch_folder("/local", {"TMPDIR": "/other"}) == Path("/local")
    assert scratch_folder("auto", {"TMPDIR": "/tmp/job1"}) == Path("/tmp/job1")
    with pytest.raises(UserError, match=r"training\.scratch is auto, which means \$TMPDIR, and that is not set"):
        scratch_folder("auto", {})


def corrupting(times, real=shutil.copyfile):
    """A disk that turns a bit of what is written to it, the first `times` times."""
    left = [times]

    def copy(source, copy):
        real(source, copy)
        if left[0]:
            left[0] -= 1
            with Path(copy).open("r+b") as handle:
                handle.seek(700)
                handle.write(b"\xff\x01\xff")

    return copy


def test_a_corrupted_copy_is_noticed_and_copied_once_more(packed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(staging.shutil, "copyfile", corrupting(1))
    with staged(packed.manifests, ("sar",), tmp_path) as places:
        for manifest in packed.manifests:
            copy = places[manifest.parent] / "sar.npy"
            assert copy.read_bytes() == (manifest.parent / "sar.npy").read_bytes()
    assert capsys.readouterr().err.count("copying it once more") == 1


def test_a_disk_that_corrupts_twice_is_an_error_that_leaves_nothing(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(staging.shutil, "copyfile", corrupting(2))
    with pytest.raises(UserError, match=r"copied twice and differs .*name another folder as training\.scratch"):
        use(packed.manifests, ("sar",), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pack_that_is_damaged_itself_is_told_from_a_damaged_disk(packed, tmp_path):
    shutil.copytree(packed.root / "pack" / "0", tmp_path / "pack" / "0")
    with (tmp_path / "pack" / "0" / "sar.npy").open("r+b") as handle:
        handle.seek(700)
        handle.write(b"\xff\x01\xff")
    with pytest.raises(UserError, match=r"pack/0/sar\.npy: is damaged: its checksum is not the manifest's"):
        use([tmp_path / "pack" / "0" / "manifest.json"], ("sar",), tmp_path / "scratch")


@pytest.fixture()
def small_disk(tmp_path):
    """A file system of 200 KiB; one shard's SAR alone is 262 KB."""
    if os.getuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_too_little_space_is_told_before_anything_is_copied(packed, small_disk, monkeypatch):
    monkeypatch.setattr(staging.shutil, "copyfile", lambda *_: pytest.fail("it began to copy"))
    with pytest.raises(UserError, match=r"disk has 0\.00 GiB free, and the pack needs .*or set it to null"):
        use(packed.manifests, ("sar",), small_disk)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_told_and_emptied(packed, small_disk, monkeypatch):
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 10**12))
    with pytest.raises(UserError, match=r"training\.scratch: .*and the pack needs"):
        use(packed.manifests, ("sar",), small_disk)
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(packed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"training\.scratch: .*no folder can be made there"):
        use(packed.manifests, ("sar",), tmp_path / "file" / "scratch")


def test_a_folder_that_cannot_be_written_is_told(packed):
    with pytest.raises(UserError, match=r"training\.scratch: /proc: cannot be written to .*name a folder on a disk"):
        use(packed.manifests, ("sar",), Path("/proc"))


def test_a_second_run_takes_the_first_ones_copies_and_adds_what_it_lacks(packed, tmp_path, monkeypatch):
    copies = []
    copyfile = shutil.copyfile
    monkeypatch.setattr(
        staging.shutil, "copyfile", lambda source, copy: copies.append(Path(source).name) or copyfile(source, copy)
    )
    with staged(packed.manifests, ("sar", "masks"), tmp_path) as first:
        with staged(packed.manifests, ("sar", "eo", "masks"), tmp_path) as second:
            assert first == second
            assert sorted(copies) == ["eo.npy", "eo.npy", "masks.npy", "masks.npy", "sar.npy", "sar.npy"]
        assert len(copied(tmp_path)) == 6  # the first run still uses them
    assert list(tmp_path.iterdir()) == []


def test_another_packs_copy_is_left_alone_while_it_is_used(packed, tmp_path):
    other = tmp_path / "pack" / "0"
    shutil.copytree(packed.root / "pack" / "0", other)
    manifest = read_json(other / "manifest.json")
    np.save(other / "eo.npy", np.zeros((1, 4, 64, 64), np.uint16))
    manifest["files"]["eo.npy"] = {"bytes": 1, "xxh3_128": "0" * 32}
    write_json(other / "manifest.json", manifest)
    scratch = tmp_path / "scratch"
    with staged([other / "manifest.json"], ("sar",), scratch):
        with staged(packed.manifests, ("sar",), scratch):
            assert len(copied(scratch)) == 3
        assert len(copied(scratch)) == 1


def abandon(manifests, scratch):
    with staged(manifests, ("sar",), scratch):
        os._exit(9)


def test_what_a_killed_run_left_is_not_trusted_but_copied_anew(packed, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=abandon, args=(packed.manifests, tmp_path))
    process.start()
    process.join()
    left = sorted(tmp_path.rglob("*.npy"))
    assert len(left) == 2
    with left[0].open("r+b") as handle:
        handle.seek(700)
        handle.write(b"\xff\x01\xff")
    with staged(packed.manifests, ("sar",), tmp_path) as places:
        copy = places[packed.manifests[0].parent] / "sar.npy"
        assert copy.read_bytes() == (packed.manifests[0].parent / "sar.npy").read_bytes()
    assert list(tmp_path.iterdir()) == []


def stage_and_read(manifests, scratch, barrier, failures):
    barrier.wait()
    for _ in range(10):
        with staged(manifests, ("sar",), scratch) as places:
            for folder, copy in places.items():
                if (folder / "sar.npy").read_bytes() != (copy / "sar.npy").read_bytes():
                    failures.put(str(copy))


def test_runs_that_come_and_go_at_once_always_find_whole_copies(packed, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, failures = context.Barrier(4), context.Queue()
    arguments = (packed.manifests, tmp_path, barrier, failures)
    processes = [context.Process(target=stage_and_read, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert failures.empty()
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_disk_that_knows_no_locks_is_told(packed, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match=r"training\.scratch: .*no locks"):
        use(packed.manifests, ("sar",), tmp_path)
