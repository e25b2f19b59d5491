"""Nothing half-written ever has its final name."""

import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.files import read_json, read_table, whole_file, whole_folder, write_json


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


def test_a_table_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.parquet: no such file"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("not Parquet")
    with pytest.raises(UserError, match=r"a\.parquet: not a table that can be used"):
        read_table(tmp_path / "a.parquet")
    pd.DataFrame({"tile_id": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"subset"):
        read_table(tmp_path / "a.parquet", columns=["tile_id", "subset"])


def test_an_output_that_cannot_be_written_is_told_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no folder can be made there"), whole_file(tmp_path / "file" / "out.json"):
        pytest.fail("the work has begun")
