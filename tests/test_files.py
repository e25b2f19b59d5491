"""Nothing half-written ever has its final name."""

import pytest

from sspipe.errors import UserError
from sspipe.files import read_json, whole_file, whole_folder, write_json


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    final = tmp_path / "deep" / "table.csv"
    with whole_file(final) as partial:
        partial.write_text("a,b\n")
        assert not final.exists()
        assert partial.suffix == ".csv"
    assert final.read_text() == "a,b\n"
    with pytest.raises(RuntimeError), whole_file(final) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert final.read_text() == "a,b\n"
    assert [path.name for path in final.parent.iterdir()] == ["table.csv"]


def test_a_folder_takes_the_place_of_the_old_one_whole_or_not_at_all(tmp_path):
    final = tmp_path / "pack"
    for content in ("old", "new"):
        with whole_folder(final) as partial:
            (partial / content).write_text(content)
    assert [path.name for path in final.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), whole_folder(final) as partial:
        (partial / "half").write_text("")
        raise RuntimeError
    assert [path.name for path in final.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_json_refuses_nan_and_names_the_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"f1": float("nan")})
    assert not (tmp_path / "a.json").exists()
    with pytest.raises(UserError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")
