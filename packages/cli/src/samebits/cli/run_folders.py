"""Run folders: which folder a run is kept in, and its configuration.

Runs of the configuration ``small.toml`` go to ``runs/small``, ``runs/small-2``, ``runs/small-3``, … No run overwrites another.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from samebits.core import Mode
from samebits.lm import TrainConfig, presets
from samebits.lm.run import CONFIG
from samebits.lm.training import CHECKPOINT

__all__ = ["choose_run", "reproducible"]

RUNS = Path("runs")


def choose_run(
    config: Path | None, preset: str | None, *, arithmetic: Mode | None, resume: bool, out: Path | None
) -> tuple[Path, TrainConfig]:
    """The folder and the configuration that the options of ``samebits train`` select.

    Raises:
        ValueError: Both a configuration and a preset are given, the folder has a run but `resume` is False, or the reverse.
        ConfigError, OSError: The configuration is wrong or cannot be read.
    """
    if config and preset:
        raise ValueError(f"train: CONFIG and --preset exclude each other, got {config} and --preset {preset}")
    name = config.stem if config else preset or presets.DEFAULT
    folder = out or (_newest(name) if resume else _fresh(name))
    exists = any((folder / file).exists() for file in (CONFIG, CHECKPOINT))
    if resume and not exists:
        raise ValueError(f"train: --resume requires a run, but {folder} has none; leave out --resume to start one")
    if exists and not resume:
        raise ValueError(f"train: {folder} has a run already; add --resume to continue it, or --out for another folder")
    if resume and not (config or preset):
        chosen = TrainConfig.read(folder / CONFIG)
    else:
        chosen = _read(config) if config else presets.preset(preset or presets.DEFAULT)
    return folder, replace(chosen, numerics=arithmetic) if arithmetic else chosen


def reproducible(config: TrainConfig) -> Mode:
    """The arithmetic of a run, or exact arithmetic where that has other bits on every machine."""
    return "exact" if config.numerics == "fast" else config.numerics


def _read(config: Path) -> TrainConfig:
    """The configuration in a file; what is not a file may be something else that can be trained."""
    if config.is_dir():
        raise ValueError(f"train: CONFIG must be a TOML file, got the folder {config}; --resume --out {config} continues a run")
    if str(config) in presets.names() and not config.exists():
        raise ValueError(f"train: CONFIG must be a TOML file, got the name of a preset; --preset {config} trains it")
    return TrainConfig.read(config)


def _folders(name: str) -> Iterator[Path]:
    """The folders for runs of that name, in order."""
    yield RUNS / name
    for number in itertools.count(2):
        yield RUNS / f"{name}-{number}"


def _fresh(name: str) -> Path:
    """The first of them that does not exist."""
    return next(folder for folder in _folders(name) if not folder.exists())


def _newest(name: str) -> Path:
    """The last of them that has a run."""
    existing = itertools.takewhile(Path.exists, _folders(name))
    return next(reversed([folder for folder in existing if (folder / CONFIG).exists()]), RUNS / name)
