"""What a log, a terminal and TensorBoard show of a training."""

import io
import re
import sys
import types

import pytest
import torch

from sspipe.errors import UserError
from sspipe.train.options import Options
from sspipe.train.progress import Reporter
from tests.train.engine import arguments, run_stage, training

MODEL = {"model": {"kind": "unet16", "width": 0.0625}}
STAGES = {"stages": [{"views": ["sar"], "epochs": 2}]}


def test_a_log_line_has_epoch_step_loss_pace_time_left_and_memory(packed, capsys):
    training(packed, **MODEL, **STAGES, engine={"options": Options(log_seconds=1e-6)}).run()
    lines = capsys.readouterr().out.splitlines()
    pattern = r"stage 1/1 \(SAR\) epoch 2/2 step 2/3: loss \d\.\d+, [\d.]+ images/s, \d+:\d\d left, memory [\d.]+ GiB$"
    assert sum(re.search(pattern, line) is not None for line in lines) == 1
    assert any("validation 1/1" in line for line in lines)
    assert not any(" step 0/" in line or "epoch 3/2" in line for line in lines)  # between two epochs nothing was done


def test_between_lines_nothing_is_said(packed, capsys):
    training(packed, **MODEL, **STAGES).run()
    assert not [line for line in capsys.readouterr().out.splitlines() if " step " in line]


def test_a_terminal_shows_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Reporter(100, 20, 30, torch.device("cpu"), silent=False) as reporter:
        reporter.took(30)
        reporter.tell("epoch 1/2", 0.5)
    assert "epoch 1/2: loss 0.500" in terminal.getvalue() and "━" in terminal.getvalue()


def test_tensorboard_without_its_package_is_told_before_training(packed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"training\.tensorboard is true.*pip install tensorboard"):
        run_stage(packed, tmp_path / "run", {**MODEL, **STAGES}, tensorboard=True)
    assert not list((tmp_path / "run" / "checkpoints").glob("*.pt"))


def test_tensorboard_gets_every_epochs_measurements_on_one_axis(packed, tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    stages = {"stages": [{"views": ["eo"], "epochs": 1}, {"views": ["sar"], "epochs": 1}]}
    epochs = training(packed, **MODEL, **stages, engine={"events": tmp_path / "tensorboard"}).run()
    assert [(name, value, step) for name, value, step in written if name == "validation_iou"] == [
        ("validation_iou", epochs[0].validation_iou, 1),
        ("validation_iou", epochs[1].validation_iou, 2),
    ]


def test_a_disk_that_is_full_for_tensorboard_stops_no_training(packed, tmp_path, monkeypatch, capsys):
    class SummaryWriter:
        def __init__(self, folder):
            pass

        def add_scalar(self, *_):
            raise OSError(28, "No space left on device")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert len(training(packed, **MODEL, **STAGES, engine={"events": tmp_path / "tensorboard"}).run()) == 2
    told = capsys.readouterr().err
    assert told.count("tensorboard: TensorBoard's files cannot be written") == 1 and "No space left" in told


def test_arguments_of_the_stage_are_those_of_the_configuration(packed, tmp_path):
    """A knob of `training` that the stage does not take would be one that does nothing."""
    from sspipe.config import Training

    assert Training.model_fields.keys() <= arguments(packed, tmp_path, {**MODEL, **STAGES}).keys()
