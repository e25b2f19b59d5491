"""progress.json: what `sspipe status` reads while a run trains."""

from sspipe.files import read_json
from sspipe.train.live import LiveFile
from sspipe.train.options import Options
from tests.train.engine import run_stage, training

MODEL = {"model": {"kind": "unet16", "width": 0.0625}}
STAGES = {"stages": [{"views": ["eo"], "epochs": 1}, {"views": ["sar"], "epochs": 2}]}


def test_progress_counts_epochs_over_all_stages_and_has_what_was_measured(packed, tmp_path):
    path = tmp_path / "progress.json"
    epochs = training(packed, **MODEL, **STAGES, engine={"live": path, "options": Options(log_seconds=1e-6)}).run()
    live = read_json(path)
    assert (live["stage"], live["stages"], live["epoch"], live["epochs"]) == (2, 2, 3, 3)
    assert live["validation_iou"] == epochs[-1].validation_iou
    assert live["loss"] > 0 and live["seconds_left"] >= 0 and live["restarts"] == 0


def test_it_is_gone_once_the_result_is_there(packed, tmp_path):
    folder = run_stage(packed, tmp_path / "run", {**MODEL, **STAGES})
    assert (folder / "train.json").exists() and not (folder / "progress.json").exists()


def test_a_folder_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path, capsys):
    (tmp_path / "file").touch()
    live = LiveFile(tmp_path / "file" / "progress.json")
    live.write({"epoch": 1})
    live.write({"epoch": 2})
    assert capsys.readouterr().err.count("progress.json: cannot be written") == 1
