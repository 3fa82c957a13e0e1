"""Receipts: what a text or a model was made with, and digests of the result, in a file that anyone can verify.

    {"format": "samebits.receipt/1", "kind": "text", "model": ..., "tokenizer": ..., "arithmetic": ..., "sampling": ..., "texts": [...],
     "source": ..., "versions": ..., "digests": {"arithmetic": ..., ...}, "digest": ...}

A receipt is canonical JSON. ``digests`` has the SHA-256 of the canonical JSON of each field before it, so a receipt that was changed
is refused with the field when it is read. Whoever changes it can compute these digests again; then `samebits.lm.verification` and
`samebits.lm.retraining` find the change. ``source`` and ``versions`` are for readers alone and prove nothing: ``digest``, the SHA-256
of the digests of all other fields, is the same on every machine.
"""

import dataclasses
import hashlib
import platform
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal, TypedDict

import numpy as np

from samebits.core import Stream, compiled
from samebits.core.canonical import LARGEST_INTEGER, canonical_json
from samebits.core.records import Limits, RecordError, convert, load_json
from samebits.lm.sampling import Sampling

__all__ = ["FORMAT", "RECEIPT", "Receipt", "ReceiptError", "TrainedCheckpoint", "TrainingReceipt", "WrittenText", "read_receipt"]

FORMAT = "samebits.receipt/1"
RECEIPT = "receipt.json"
"""The name of the receipt in a run's folder."""

_STREAM = 16  # numbers of a stream: the time to open it grows with their square

Digest = Annotated[str, Limits(pattern="[0-9a-f]{64}")]
Number = Annotated[int, Limits(least=0, most=LARGEST_INTEGER)]
Name = Annotated[str, Limits(controls=True)]


class ReceiptError(ValueError):
    """A file is not a receipt, or was changed; the message names the field.

    Example:
        >>> read_receipt(b'{"kind": "text"}', "r.json")
        Traceback (most recent call last):
            ...
        samebits.lm.receipts.ReceiptError: r.json: arithmetic is missing
    """


def _versions() -> dict[str, str]:
    try:
        own = version("samebits-lm")
    except PackageNotFoundError:
        own = "of the source tree"
    return {
        "samebits": own,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "kernels": compiled.describe(),
    }


@dataclass(frozen=True, kw_only=True)
class WrittenText:
    """A text that a model wrote."""

    prompt: list[Number]
    """The ids that the model read before; at least one, and at most as many as its context has."""
    stream: list[Number]
    """Where its random numbers are from: the seed, and what the stream was split by, ``Stream(seed).split(a).split(b)``."""
    tokens: list[Number]
    """The ids that it wrote, with the one that ended it."""
    chain: list[Digest]
    """The value of a `samebits.lm.chain.Chain` after each of them."""
    text: Name
    """What the tokenizer decodes all of them to."""

    def opened(self) -> Stream:
        """The stream of its random numbers, at its beginning.

        Example:
            >>> WrittenText(prompt=[1], stream=[7, 0, 2], tokens=[], chain=[], text="").opened()
            Stream(7).split(0).split(2)
        """
        seed, *parts = self.stream
        return reduce(Stream.split, parts, Stream(seed))


class _Sealed(ABC):
    """What both kinds of receipts have."""

    @abstractmethod
    def _fields(self) -> dict[str, Any]:
        """The fields of the file without its digests."""

    @property
    def digest(self) -> str:
        """The digest that stands for all of it but ``source`` and ``versions``, 64 hexadecimal digits."""
        return _whole(_digests(self._fields()))

    def to_json(self) -> bytes:
        """The file's bytes."""
        return _sealed(self._fields())


@dataclass(frozen=True, kw_only=True)
class Receipt(_Sealed):
    """The receipt of texts that a model wrote.

    Raises:
        ReceiptError: A number is not one of canonical JSON, such as a seed from 2^53 on.

    Example:
        >>> text = WrittenText(prompt=[1], stream=[7], tokens=[2], chain=["0" * 64], text="c")
        >>> receipt = Receipt(model="1" * 64, tokenizer="2" * 64, arithmetic="exact", sampling=Sampling(top_k=3), texts=[text])
        >>> read_receipt(receipt.to_json()) == receipt
        True
    """

    model: Digest
    """The digest of the model's weights or of its file."""
    tokenizer: Digest
    arithmetic: Literal["exact", "int16"]
    """Fast arithmetic has other bits on every machine."""
    sampling: Sampling
    texts: list[WrittenText]
    source: str = ""
    """What the writer calls the model."""
    versions: dict[str, str] = field(default_factory=_versions)
    """The software that wrote it."""

    def __post_init__(self) -> None:
        for number, text in enumerate(self.texts):
            if not text.prompt:
                raise ReceiptError(f"texts[{number}].prompt must have at least one token, got none")
            if not 1 <= len(text.stream) <= _STREAM:
                raise ReceiptError(
                    f"texts[{number}].stream must have a seed and at most {_STREAM - 1} parts, got {len(text.stream)} numbers"
                )
            if len(text.chain) != len(text.tokens):
                raise ReceiptError(
                    f"texts[{number}].chain must have a value for each of the {len(text.tokens)} tokens, got {len(text.chain)}"
                )
            if large := [one for one in text.stream if one > LARGEST_INTEGER]:
                raise ReceiptError(f"texts[{number}].stream must have numbers below 2^53, as JSON has, got the seed {large[0]}")

    def _fields(self) -> dict[str, Any]:
        sampling = dataclasses.asdict(self.sampling)
        sampling["logit_bias"] = {str(id_): bias for id_, bias in self.sampling.logit_bias.items()}
        return {"format": FORMAT, "kind": "text", **dataclasses.asdict(self), "sampling": sampling}


@dataclass(frozen=True, kw_only=True)
class TrainedCheckpoint:
    """The tensors of a run after so many steps."""

    step: Annotated[int, Limits(least=1, most=LARGEST_INTEGER)]
    weights: Digest
    """The digest of the model's weights."""
    tensors: Digest
    """That of the weights and of the optimizer's state."""


@dataclass(frozen=True, kw_only=True)
class TrainingReceipt(_Sealed):
    """The receipt of a training run: what it was made from, and its tensors at every checkpoint.

    Example:
        >>> made = [TrainedCheckpoint(step=100, weights="1" * 64, tensors="2" * 64)]
        >>> receipt = TrainingReceipt(config="steps = 100", data="3" * 64, tokenizer="4" * 64, checkpoints=made)
        >>> read_receipt(receipt.to_json()) == receipt
        True
    """

    config: str
    """The configuration in TOML."""
    data: str
    """The digest of all tokens."""
    tokenizer: str
    initial: str = ""
    """The digest of the weights that the run started from, if they are those of another run."""
    checkpoints: list[TrainedCheckpoint]
    """Those after a multiple of ``checkpoint_every`` steps, and the last one."""
    versions: dict[str, str] = field(default_factory=_versions)

    def __post_init__(self) -> None:
        steps = [one.step for one in self.checkpoints]
        if bad := [place for place in range(1, len(steps)) if steps[place - 1] >= steps[place]]:
            raise ReceiptError(
                f"checkpoints[{bad[0]}].step must be above {steps[bad[0] - 1]}, the one before, got {steps[bad[0]]}"
            )

    def _fields(self) -> dict[str, Any]:
        return {"format": FORMAT, "kind": "training", **dataclasses.asdict(self)}


class _TextFile(TypedDict):
    format: Literal["samebits.receipt/1"]
    kind: Literal["text"]
    model: Digest
    tokenizer: Digest
    arithmetic: Literal["exact", "int16"]
    sampling: dict[str, Any]
    texts: list[WrittenText]
    source: Name
    versions: dict[str, str]
    digests: dict[str, Digest]
    digest: Digest


class _TrainingFile(TypedDict):
    format: Literal["samebits.receipt/1"]
    kind: Literal["training"]
    config: str
    data: str
    tokenizer: str
    initial: str
    checkpoints: list[TrainedCheckpoint]
    versions: dict[str, str]
    digests: dict[str, Digest]
    digest: Digest


class _Kind(TypedDict):
    kind: Literal["text", "training"]


def read_receipt(content: bytes, source: str = "receipt") -> Receipt | TrainingReceipt:
    """Read a receipt, and refuse one that was changed.

    Args:
        content: The file's bytes; any spelling of the JSON will do.
        source: Begins error messages, such as the name of the file.

    Raises:
        ReceiptError: It is not a receipt; or a field does not have its digest.
    """
    try:
        value = load_json(content)
        training = _kind(value) == "training"
        record = dict(convert(value, _TrainingFile if training else _TextFile))
        _require_digests(value)
        given = {name: one for name, one in record.items() if name not in {"format", "kind", "digests", "digest"}}
        return TrainingReceipt(**given) if training else Receipt(**{**given, "sampling": _sampling(given["sampling"])})
    except (RecordError, ReceiptError) as error:
        raise ReceiptError(f"{source}: {error}") from None


def _kind(value: Any) -> Literal["text", "training"]:
    kind: Any = value.get("kind", "text") if isinstance(value, dict) else "text"
    return convert({"kind": kind}, _Kind)["kind"]  # type: ignore[no-any-return]


def _sampling(record: Mapping[str, Any]) -> Sampling:
    """The settings of a receipt; all of them must be there, as a default may change."""
    names = [one.name for one in dataclasses.fields(Sampling)]
    if wrong := sorted(set(record) ^ set(names)):
        raise ReceiptError(f"sampling.{wrong[0]} is {'not a field' if wrong[0] in record else 'missing'}")
    bias = record["logit_bias"]
    if not isinstance(bias, dict) or not all(re.fullmatch("0|[1-9][0-9]{0,15}", one) for one in bias):
        raise ReceiptError(f"sampling.logit_bias must be an object whose names are token ids, got {bias!r:.100}")
    try:
        return Sampling(**{**record, "logit_bias": {int(id_): value for id_, value in bias.items()}})
    except ValueError as error:
        raise ReceiptError(f"sampling.{str(error).removeprefix('Sampling: ')}") from None


# Digests


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _digests(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: _digest(fields[name]) for name in sorted(fields)}


def _whole(digests: Mapping[str, str]) -> str:
    return _digest({name: digest for name, digest in digests.items() if name not in {"source", "versions"}})


def _sealed(fields: Mapping[str, Any]) -> bytes:
    digests = _digests(fields)
    return canonical_json({**fields, "digests": digests, "digest": _whole(digests)})


def _require_digests(record: Mapping[str, Any]) -> None:
    """Refuse a receipt one of whose fields, or whose digests, were changed."""
    given, whole, found = record["digests"], record["digest"], {}
    for name in sorted(record.keys() - {"digests", "digest"}):
        try:
            found[name] = _digest(record[name])
        except ValueError as error:
            raise ReceiptError(f"{name}: {error}") from None
    if changed := sorted(name for name in set(found) | set(given) if found.get(name) != given.get(name)):
        name = changed[0]
        raise ReceiptError(
            f"{name} was changed, or its digest: it has {found.get(name, 'none')[:16]}, digests.{name} is {given.get(name, 'missing')[:16]}"
        )
    if _whole(found) != whole:
        raise ReceiptError(f"digest was changed: that of the digests is {_whole(found)[:16]}, the receipt says {whole[:16]}")
