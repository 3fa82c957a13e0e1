"""Commands as a user runs them, in a folder with a few lines of text and a small configuration."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from samebits.cli import training
from samebits.cli.app import app
from samebits.lm import presets

CONFIG = """
data = "text.txt"
steps = {steps}
batch = 4
warmup = 2
learning_rate = 1e-2
evaluate_every = 4
evaluation_windows = 4
checkpoint_every = 2
[model]
layers = 1
heads = 2
channels = 16
context = 16
"""


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, *, steps: int) -> None:
    """Go to a folder, and write the text and small.toml."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(presets, "_TOKENS", 30)
    monkeypatch.setattr(training, "_draw_curve", lambda *_: "")
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    Path("text.txt").write_text("so the quick brown fox jumps, and the lazy dog sleeps\n" * 30)
    Path("small.toml").write_text(CONFIG.format(steps=steps))


def run(*arguments: str, lines: str | bytes = "") -> Result:
    """Run ``samebits``, which must not end with a traceback."""
    done = CliRunner().invoke(app, list(arguments), input=lines)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done
