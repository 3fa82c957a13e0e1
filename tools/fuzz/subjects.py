"""Subjects of the fuzz tests: which files are damaged, how, and what may become of them.

`Subject.read` raises one of the errors that are documented, which names the file, or returns after it has checked the contents.
"""

import json
import random
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

from samebits.core import Stream
from samebits.core.records import RecordError
from samebits.drift import VariantResult, Verdict
from samebits.drift.command import Options, PlainOutput, run_command
from samebits.lm import ConfigError, LanguageModel, ModelConfig, Sampling, TrainConfig, generate_tokens, presets
from samebits.lm.checkpoint import CheckpointError
from samebits.lm.data import reopen
from samebits.lm.export import export_gguf, export_hugging_face
from samebits.lm.gguf import GGUFError, open_gguf
from samebits.lm.metrics import cut_metrics, read_metrics
from samebits.lm.model_parts import PretrainedError
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.lm.receipts import Receipt, ReceiptError, TrainedCheckpoint, TrainingReceipt, WrittenText, read_receipt
from samebits.lm.run import Run, start
from samebits.lm.training import CHECKPOINT
from samebits.lm.verification import verify_text
from samebits.text import ByteTokenizer, TokenFileError, Tokenizer, load_tokenizer, open_tokens
from samebits.text.ranks_file import load_ranks
from samebits.text.tokenizer_file import TokenizerFileError
from tools import files, matrix
from tools.fuzz.gguf import change_gguf, gguf_file
from tools.fuzz.mutations import change_bytes, change_json, change_toml
from tools.fuzz.requests import RefusedError, Requests
from tools.fuzz.signed import change_checkpoint, change_receipt, change_tokenizer, change_tokens, read_checkpoint

__all__ = ["Subject", "subjects"]

Change = Callable[[random.Random, bytes], bytes]
TEXT = "the quick brown fox jumps over the lazy dog, n° 42\n"
PLACE = {
    "platform": "linux-x86_64",
    "surroundings": {"processor": "some", "cpus": 2, "c_library": "glibc 2.36", "settings": {"OMP_NUM_THREADS": "1"}},
    "machine": {
        "system": "Linux",
        "python": "CPython 3.13.1",
        "numpy": "2.5.0",
        "blas": {"name": "openblas", "version": "0.3", "kernel": None, "threads": 2},
    },
}
_VARIANTS = [
    {"name": name, "axis": name, "environment": {}, "in_effect": "", "error": error}
    for name, error in (("base", ""), ("threads", ""), ("cpu", "failed"))
]
_DIGESTS = {"base": "0" * 16, "threads": "1" * 16}
DRIFT = PLACE | {
    "format": "samebits.drift/2",
    "python": "3.13",
    "numpy": "2.5",
    "variants": _VARIANTS,
    "operations": {
        name: {
            "group": "a",
            "counterpart": own,
            "digests": _DIGESTS,
            "counterpart_digests": dict.fromkeys(_DIGESTS, "2"),
            "errors": [],
        }
        for name, own in (("exp float32", "exp"), ("add float64", ""))
    },
}
_JSON = (change_json, change_json)


@dataclass(frozen=True)
class Subject:
    """A kind of file: a valid one, its mutations, and its reader."""

    name: str
    file: Path
    """The name under which a mutant is written; what else is in its folder is valid."""
    valid: bytes
    changes: tuple[Change, ...]
    """Functions that make a mutant of the valid contents; one of them is drawn."""
    read: Callable[[Path], None]
    """Reads the file and checks what it has read."""
    errors: tuple[type[Exception], ...]
    """What it may raise, with the name of the file."""

    def mutant(self, seed: int, number: int) -> bytes:
        """A mutant, which depends on the arguments alone."""
        generator = random.Random(f"{seed} {self.name} {number}")
        return generator.choice((change_bytes, *self.changes))(generator, self.valid)

    def try_mutant(self, mutant: bytes) -> tuple[bool, str]:
        """Whether a mutant was accepted, and the message of the error if it was not.

        Raises:
            Exception: What is not documented, such as an error that does not name the file.
        """
        self.file.write_bytes(mutant)
        try:
            self.read(self.file)
        except self.errors as error:
            if self.file.name not in str(error):
                raise ValueError(f"the error must name {self.file.name}, got {error!r}") from error
            return False, str(error)
        return True, ""


def subjects(folder: Path) -> list[Subject]:
    """All subjects, with their valid files in a new folder."""
    return [
        *_run_files(folder / "run"),
        *_other_files(folder / "other"),
        *_model_files(folder / "model"),
        *_requests(folder / "requests"),
        *_receipts(folder / "receipts"),
    ]


def _run_files(folder: Path) -> list[Subject]:
    """The files of a run, in a copy of its folder for each."""
    folder.mkdir(parents=True)
    (folder / "text.txt").write_text(TEXT * 40, "utf-8", newline="\n")
    model = ModelConfig(context=4, layers=1, heads=2, channels=8)
    config = TrainConfig(
        data="text.txt",
        tokenizer="bytepair",
        merged_vocabulary=270,
        end_of_text="<end>",
        steps=3,
        warmup=1,
        batch=2,
        checkpoint_every=2,
        model=model,
    )
    saved: dict[str, bytes] = {}
    with chdir(folder):
        run = start(config, folder, [lambda _, record: record["step"] == 3 and saved.update(_files(folder))])
        run.trainer.train()
    lines = [
        {"step": step, "loss": 4.5 - step, "learning_rate": 0.001, "tokens": 8 * step, "seconds": 0.25} for step in range(1, 4)
    ]
    saved["metrics.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in [{"step": 0, "validation_loss": 5.0}, *lines])
    readers: dict[str, tuple[str, tuple[Change, ...], Callable[[Path], None], tuple[type[Exception], ...]]] = {
        "checkpoint": (CHECKPOINT, (change_checkpoint,) * 3, lambda path: read_checkpoint(path, run), (CheckpointError,)),
        "tokenizer": ("tokenizer.json", (change_json, change_tokenizer), _read_tokenizer, (TokenizerFileError,)),
        "tokens": ("training.tokens", (change_tokens,) * 2, _read_tokens, (TokenFileError,)),
        "config": ("config.toml", (_change_config,) * 2, _read_config, (ConfigError,)),
        "metrics": ("metrics.jsonl", (_change_lines,) * 2, _read_metrics, (RecordError,)),
        "data": ("data.json", (change_json,) * 2, lambda path: _read_data(path, run), (RecordError, ConfigError)),
    }
    for name in readers:
        (folder.parent / name).mkdir()
        for file, content in saved.items():
            (folder.parent / name / file).write_bytes(content)
    return [
        Subject(name, folder.parent / name / file, saved[file], changes, read, errors)
        for name, (file, changes, read, errors) in readers.items()
    ]


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


def _other_files(folder: Path) -> list[Subject]:
    """The files that the tools and the commands write."""
    (folder / "cell").mkdir(parents=True)
    cell = matrix.Record("3.13", "2.5", "linux-x86_64", "now", passed=11, skipped=2, seconds=1.25)
    runs = [VariantResult(name, axis, digests={"result": "0" * 64}) for name, axis in (("base", "base"), ("blas", "blas"))]
    verdict = json.dumps(Verdict("mine:function", PLACE, runs).as_json()).encode()
    (folder / "valid.json").write_bytes(verdict)
    published = Path(presets.__file__).with_name("published.json").read_bytes()
    ranks = b"YQ== 0\nYg== 1\nYWI= 2\nYWJhYg== 3\n"
    return [
        Subject("cell", folder / "cell/cell.json", json.dumps(asdict(cell)).encode(), _JSON, _read_cell, (files.RecordError,)),
        Subject("drift", folder / "a.json", json.dumps(DRIFT).encode(), _JSON, lambda path: _join([path]), (CommandError,)),
        Subject("verdict", folder / "b.json", verdict, _JSON, lambda path: _join([folder / "valid.json", path]), (CommandError,)),
        Subject("published", folder / "published.json", published, _JSON, _read_published, (RecordError,)),
        Subject("ranks", folder / "a.tiktoken", ranks, (), lambda path: _check_ranks(load_ranks(path)), (TokenizerFileError,)),
        Subject("gguf", folder / "a.gguf", gguf_file(), (change_gguf,) * 2, _read_gguf, (GGUFError,)),
    ]


def _model_files(folder: Path) -> list[Subject]:
    """The files of a model in both formats of others, of Qwen 3 in one and of Llama 3 in the other."""
    made = []
    for options in ({"qk_norm": True}, {"rope_scaling": "llama3", "rope_factor": 8.0}):
        config = ModelConfig(architecture="llama", vocabulary_size=257, context=4, layers=1, heads=2, channels=32, **options)
        model = LanguageModel(config, stream=Stream(0)).eval()
        made.append(Pretrained(name="small", model=model, tokenizer=ByteTokenizer(["<end>"]), eos_id=256))
    folder.mkdir(parents=True)
    export_gguf(made[0], folder / "model.gguf", "q8_0")
    found: list[tuple[str, str, tuple[Change, ...]]] = [
        ("model", "model.gguf", (partial(change_gguf, last=b"output_norm.weight"),) * 2)
    ]
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        export_hugging_face(made[1], folder / name)
        found.append((name, f"{name}/{name}", _JSON))
    return [
        Subject(name, folder / file, (folder / file).read_bytes(), changes, _read_model, (PretrainedError, GGUFError))
        for name, file, changes in found
    ]


def _requests(folder: Path) -> list[Subject]:
    """The bodies of requests to a server."""
    folder.mkdir(parents=True)
    requests = Requests(folder)
    return [
        Subject(name, folder / f"{name}.json", body, _JSON, requests.reader(address), (RefusedError,))
        for name, (address, body) in requests.bodies().items()
    ]


def _receipts(folder: Path) -> list[Subject]:
    """Receipts of a text of a small model, and of a training run."""
    tokenizer = ByteTokenizer(["<end>"])
    sizes = ModelConfig(architecture="llama", vocabulary_size=257, context=8, layers=1, heads=2, channels=8)
    model = LanguageModel(sizes, stream=Stream(0)).eval()
    sampling = Sampling(top_k=100, repetition_penalty=1.5, logit_bias={256: -1.0})
    found = list(generate_tokens(model, tokenizer, "n°", tokens=12, stream=Stream(3), sampling=sampling, chained=True))
    ids, chain = [one.id for one in found], [one.chain for one in found]
    text = WrittenText(prompt=list("n°".encode()), stream=[3], tokens=ids, chain=chain, text=tokenizer.decode(ids))
    versions = {"numpy": "2.5.0"}
    written = Receipt(
        model="1" * 64,
        tokenizer=tokenizer.digest,
        arithmetic="exact",
        sampling=sampling,
        texts=[text, text],
        versions=versions,
    )
    made = [TrainedCheckpoint(step=step, weights="3" * 64, tensors="4" * 64) for step in (100, 200)]
    config = TrainConfig().to_toml()
    trained = TrainingReceipt(config=config, data="5" * 64, tokenizer="6" * 64, checkpoints=made, versions=versions)
    folder.mkdir(parents=True)
    read, changes = partial(_read_receipt, model=model, tokenizer=tokenizer), (change_json, change_receipt, change_receipt)
    return [
        Subject(name, folder / f"{name}.json", one.to_json(), changes, read, (ReceiptError,))
        for name, one in (("receipt", written), ("run_receipt", trained))
    ]


def _read_receipt(path: Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    found = read_receipt(path.read_bytes(), str(path))
    if read_receipt(found.to_json()) != found:
        raise AssertionError(f"a receipt must be read as it was written, got {found}")
    if isinstance(found, Receipt):
        verified = verify_text(found, model, tokenizer, model_digest=found.model)
        if verified.difference is None and verified.checked != verified.steps:
            raise AssertionError(f"all steps must be checked, got {verified}")


def _read_model(path: Path) -> None:
    try:
        found = load_pretrained(path if path.suffix == ".gguf" else path.parent)
    except PretrainedError as error:
        if str(path.parent) in str(error):  # of a file beside it, which does not fit this one
            raise PretrainedError(f"{path}: {error}") from None
        raise
    if found.tokenizer.vocabulary_size != found.model.config.vocabulary_size:
        raise AssertionError(f"a model must have the vocabulary of its tokenizer, got {found}")


def _read_tokenizer(path: Path) -> None:
    found = load_tokenizer(path)
    for text in (TEXT, "", "\0\n", "banana <end>", "𝟛 é"):
        ids = found.encode_ordinary(text, errors="ignore")
        if ids.size and not 0 <= ids.min() <= ids.max() < found.vocabulary_size:
            raise AssertionError(f"ids must be from 0 to {found.vocabulary_size - 1}, got {ids}")
        _check_decoded(found, text)


def _check_decoded(found: Tokenizer, text: str) -> None:
    try:
        ids = found.encode_ordinary(text)
    except ValueError:  # a character has no token
        return
    if found.decode(ids) != text:
        raise AssertionError(f"decode must give {text!r}, got {found.decode(ids)!r}")


def _read_tokens(path: Path) -> None:
    tokens = open_tokens(path)
    tokens.verify()
    if len(tokens) and int(tokens.ids.max()) >= tokens.vocabulary_size:
        raise AssertionError(f"ids must be below {tokens.vocabulary_size}, got {tokens.ids.max()}")


def _change_config(generator: random.Random, data: bytes) -> bytes:
    return change_toml(generator, data.decode()).encode("utf-8", "surrogatepass")


def _read_config(path: Path) -> None:
    found = TrainConfig.read(path)
    if TrainConfig.from_toml(found.to_toml()) != found:
        raise AssertionError(f"a configuration must be that of its TOML, got {found}")


def _change_lines(generator: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    place = generator.randrange(len(lines))
    lines[place] = change_json(generator, lines[place]) + b"\n"
    return b"".join(lines)


def _read_metrics(path: Path) -> None:
    raw = path.read_bytes()
    try:
        records = read_metrics(path.parent)
        if len(records) != raw.count(b"\n") or any(type(one["step"]) is not int or one["step"] < 0 for one in records):
            raise AssertionError(f"each line must be a step, got {records}")
    finally:  # what is damaged is cut off
        cut_metrics(path, 2)
        kept = read_metrics(path.parent)
        if not raw.startswith(path.read_bytes()) or any(one["step"] > 2 for one in kept):
            raise AssertionError(f"what is left must be steps up to 2, got {kept}")


def _read_data(path: Path, run: Run) -> None:
    try:
        data = reopen(run.config, path.parent)
    except ConfigError as error:
        if str(path.parent) in str(error):  # of another run, which the message says of its folder
            raise ConfigError(f"{path}: {error}") from None
        raise
    if data.digest != run.data.digest:
        raise AssertionError(f"the data must have the digest {run.data.digest}, got {data.digest}")


def _read_cell(path: Path) -> None:
    for grid in matrix.Grid.read(path.parent, [("3.13", "2.5")], "now"):
        ET.fromstring(grid.svg())
        json.dumps(grid.as_json(), allow_nan=False)
        if not (grid.table() and grid.markdown() and grid.count("failed") in {0, 1}):
            raise AssertionError(f"a grid must have text, got {grid}")


class CommandError(Exception):
    """What `samebits drift` prints as an error."""


class _Output(PlainOutput):
    def error(self, message: str) -> None:
        raise CommandError(message)


def _join(paths: list[Path]) -> None:
    """Join drift files as the command does, both ways that it prints the answer."""
    targets, page = tuple(map(str, paths)), paths[0].parent
    with redirect_stdout(StringIO()) as text:
        run_command(Options(targets=targets, join=True, as_json=True), _Output())
    json.loads(text.getvalue(), parse_constant=_refuse)
    with redirect_stdout(StringIO()):
        run_command(Options(targets=targets, join=True, render=None if len(paths) > 1 else page), _Output())
    if len(paths) == 1:
        ET.parse(page / "drift.svg")


def _read_published(path: Path) -> None:
    known = presets.read_published(path)
    digests = [one for arithmetics in known.values() for one in arithmetics.values()]
    fits = all(set(one) == {"weights", "text"} and len(one["text"]) == 64 for one in digests)
    if not fits or not set(known) <= set(presets.names()):
        raise AssertionError(f"digests must be those of presets, got {known}")


def _check_ranks(ranks: dict[bytes, int]) -> None:
    if len(set(ranks.values())) != len(ranks) or not all(ranks):
        raise AssertionError(f"each token must have a rank of its own, got {ranks}")


def _read_gguf(path: Path) -> None:
    found = open_gguf(path)
    for name, entry in found.entries.items():
        if found.tensor(name).shape != entry.shape:
            raise AssertionError(f"a tensor must have the shape {entry.shape}, got {found.tensor(name).shape}")


def _refuse(number: str) -> None:
    raise AssertionError(f"JSON must be standard, got {number}")
