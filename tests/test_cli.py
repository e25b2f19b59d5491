"""The command line: errors for people, and no library that a stage does not need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sspipe.cli import main

ROOT = Path(__file__).parent.parent


def test_a_users_mistake_is_one_message_and_status_1_without_a_traceback(tmp_path, capsys):
    status = main(
        ["resolve-variant", "--settings", '{"stages": [], "lerning_rate": 1}', "--out", str(tmp_path / "v.json")]
    )
    assert status == 1
    message = capsys.readouterr().err
    assert message.startswith("sspipe resolve-variant: error: ")
    assert "lerning_rate: unknown key; did you mean `learning_rate`?" in message
    assert "Traceback" not in message
    assert not list(tmp_path.iterdir())


def test_an_interrupt_is_one_line_and_status_130(tmp_path, monkeypatch, capsys):
    def interrupted(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sspipe.train.resolve.resolve_variant", interrupted)
    assert main(["resolve-variant", "--settings", "{}", "--out", str(tmp_path / "v.json")]) == 130
    assert capsys.readouterr().err.strip() == "sspipe resolve-variant: interrupted"


@pytest.mark.parametrize("arguments", [("--help",), ("resolve-variant", "--help"), ("resolve-variant",)])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_left_ends_it_quietly_as_with_other_programs(arguments, buffered, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)  # as `… | head` is when it has seen enough
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    # What a stage itself prints, and what only the end would write out.
    stage = "import sspipe.train.resolve as r; r.resolve_variant = lambda **options: print('resolved')"
    code = f"{stage}; import sys; from sspipe.cli import main; sys.exit(main())"
    if arguments == ("resolve-variant",):
        arguments = (*arguments, "--settings", "{}", "--out", str(tmp_path / "v.json"))
    done = subprocess.run(
        (sys.executable, *(() if buffered else ("-u",)), "-c", code, *arguments),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141 or "--help" in arguments  # which argparse itself may have kept silent about


def test_a_connection_that_breaks_is_no_reader_that_has_left(tmp_path, monkeypatch):
    def broken(**options):
        raise BrokenPipeError("the server has closed the connection")

    monkeypatch.setattr("sspipe.train.resolve.resolve_variant", broken)
    with pytest.raises(BrokenPipeError, match="the server"):
        main(["resolve-variant", "--settings", "{}", "--out", str(tmp_path / "v.json")])


@pytest.mark.parametrize(("typed", "told"), [("sttus", "did you mean `status`?"), ("xyz", "--help lists them")])
def test_a_misspelt_stage_is_told_with_the_nearest(typed, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main([typed])
    assert ended.value.code == 2
    assert f"there is no stage `{typed}`; " in (message := capsys.readouterr().err) and told in message


def test_every_stage_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for stage in (
        "synthesize-archive",
        "index-tiles",
        "assign-splits",
        "audit",
        "pack-tiles",
        "train",
        "predict-tiles",
        "follow",
    ):
        assert stage in text


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("sspipe.cli", "torch numpy pandas rasterio geopandas pydantic"),
        ("sspipe.config", "torch numpy pandas rasterio geopandas"),
        ("sspipe.train.run", "rasterio geopandas shapely pyogrio skimage matplotlib"),
        ("sspipe.predict.inference", "rasterio geopandas shapely pyogrio skimage matplotlib"),
        ("sspipe.score.stage", "torch matplotlib"),
    ],
)
def test_a_module_does_not_import_what_it_does_not_need(module, unwanted):
    code = f"import sys, {module}; print(*[name for name in {unwanted.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("flag", "value", "least"),
    [
        ("--seed", "-1", 0),
        ("--threads", "0", 1),
        ("--workers", "-1", 0),
        ("--micro-batch-size", "0", 1),
        ("--shuffle-shards", "0", 1),
        ("--checkpoint-minutes", "nan", 0),
    ],
)
def test_a_number_out_of_its_range_is_told_and_no_traceback(flag, value, least, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", flag, value])
    assert ended.value.code == 2
    assert f"argument {flag}: must be {least} or more, not {value}" in capsys.readouterr().err


def test_a_word_where_a_number_belongs_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--seed", "first"])
    assert "argument --seed: invalid int value: 'first'" in capsys.readouterr().err
