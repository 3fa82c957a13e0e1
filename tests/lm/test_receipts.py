"""A receipt is read back as it was written, and refused if any field of it was changed."""

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from samebits.core.canonical import canonical_json
from samebits.lm.receipts import Receipt, ReceiptError, WrittenText, read_receipt
from samebits.lm.sampling import Sampling

pytestmark = pytest.mark.once

TEXTS = [
    WrittenText(
        prompt=[1, 2], stream=[7, 0], tokens=[3, 4, 5], chain=["a" * 64, "b" * 64, "c" * 64], text="x\0\x1b[2J\n\U0010ffff"
    ),
    WrittenText(prompt=[1], stream=[7, 1], tokens=[], chain=[], text=""),
]
RECEIPT = Receipt(
    model="1" * 64,
    tokenizer="2" * 64,
    arithmetic="int16",
    sampling=Sampling(temperature=0.5, top_k=3, logit_bias={5: -1.5}),
    texts=TEXTS,
    source="smollm2",
)
Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The places of all values of a JSON value that hold no others."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inside:
        yield path
    for name, one in inside:
        yield from leaves(one, (*path, name))


def changed(record: Any, path: Path, change: Any) -> Any:
    """A copy of a record in which one value was changed."""
    found = copy.deepcopy(record)
    *before, last = path
    place = found
    for name in before:
        place = place[name]
    place[last] = change(place[last])
    return found


def sealed(record: Any) -> bytes:
    """A record whose digests are those of its fields."""
    fields = {name: one for name, one in record.items() if name not in {"digests", "digest"}}
    digests = {name: hashlib.sha256(canonical_json(one)).hexdigest() for name, one in fields.items()}
    lasting = {name: one for name, one in digests.items() if name not in {"source", "versions"}}
    return canonical_json({**fields, "digests": digests, "digest": hashlib.sha256(canonical_json(lasting)).hexdigest()})


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, str):
        return ("0" if value[:1] != "0" else "1") + value[1:]
    return [0] if value == [] else 1 if value is None else value + 1


def test_a_receipt_is_read_as_it_was_written() -> None:
    content = RECEIPT.to_json()
    assert read_receipt(content) == RECEIPT
    assert canonical_json(json.loads(content)) == content
    assert json.loads(content)["digest"] == RECEIPT.digest
    assert sealed(json.loads(content)) == content


def test_the_digest_is_the_same_for_all_versions_and_names_of_the_model() -> None:
    assert replace(RECEIPT, source="mine", versions={"numpy": "9"}).digest == RECEIPT.digest
    assert replace(RECEIPT, model="3" * 64).digest != RECEIPT.digest


def test_another_spelling_of_the_json_is_the_same_receipt() -> None:
    assert read_receipt(json.dumps(json.loads(RECEIPT.to_json()), indent=1, ensure_ascii=True).encode()) == RECEIPT


@pytest.mark.parametrize("path", list(leaves(json.loads(RECEIPT.to_json()))), ids=str)
def test_a_receipt_with_a_changed_value_is_refused_by_its_field(path: Path) -> None:
    record = changed(json.loads(RECEIPT.to_json()), path, other)
    with pytest.raises(ReceiptError) as error:
        read_receipt(json.dumps(record).encode(), "r.json")
    field = path[1] if path[0] == "digests" else path[0]
    assert str(error.value).startswith(f"r.json: {field} was changed" if len(path) > 1 else f"r.json: {field}"), error.value


@pytest.mark.parametrize("path", list(leaves(json.loads(RECEIPT.to_json()))), ids=str)
@pytest.mark.parametrize("value", [True, -1, 1.5, {}, [[]], "\ud800"], ids=repr)
def test_a_value_of_another_type_is_refused_by_its_field(path: Path, value: Any) -> None:
    record = changed(json.loads(RECEIPT.to_json()), path, lambda _: value)
    with pytest.raises(ReceiptError) as error:
        read_receipt(json.dumps(record).encode(), "r.json")
    assert str(error.value).startswith(f"r.json: {path[0]}"), error.value


@pytest.mark.parametrize("name", list(json.loads(RECEIPT.to_json())))
def test_a_receipt_with_a_missing_or_unknown_field_is_refused(name: str) -> None:
    record = json.loads(RECEIPT.to_json())
    with pytest.raises(ReceiptError, match=f"r.json: {name}2 is not a field"):
        read_receipt(json.dumps({**record, f"{name}2": 1}).encode(), "r.json")
    del record[name]
    with pytest.raises(ReceiptError, match=f"r.json: {name} is missing"):
        read_receipt(json.dumps(record).encode(), "r.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("texts", 0, "prompt"), [], r"texts\[0\].prompt must have at least one token"),
        (("texts", 1, "stream"), [], r"texts\[1\].stream must have a seed and at most 15 parts, got 0 numbers"),
        (("texts", 1, "stream"), [1] * 17, r"texts\[1\].stream must have a seed and at most 15 parts, got 17 numbers"),
        (("texts", 0, "chain"), ["a" * 64], r"texts\[0\].chain must have a value for each of the 3 tokens, got 1"),
        (("texts", 0, "tokens", 1), -1, r"texts\[0\].tokens\[1\] must be at least 0"),
        (("sampling", "temperature"), -1, "sampling.temperature must be 0 or from 1e-6 to 1e6, got -1"),
        (("sampling", "logit_bias"), {"+5": 1}, "sampling.logit_bias must be an object whose names are token ids"),
        (("sampling", "logit_bias"), {"5": 101}, r"sampling.logit_bias\[5\] must be from -100 to 100, got 101"),
        (("sampling",), {}, "sampling.frequency_penalty is missing"),
        (("sampling", "top_k"), 2**60, "sampling: canonical_json: an integer must be from"),
        (("arithmetic",), "fast", "arithmetic must be 'exact' or 'int16'"),
        (("versions", "numpy"), "\x1b[2J", "versions.numpy must be text without control characters"),
        (("digests",), {}, "arithmetic was changed, or its digest: it has [0-9a-f]{16}, digests.arithmetic is missing"),
    ],
    ids=str,
)
def test_a_forged_receipt_with_impossible_values_is_refused(path: Path, value: Any, message: str) -> None:
    record = changed(json.loads(RECEIPT.to_json()), path, lambda _: value)
    content = json.dumps(record).encode() if value == 2**60 or path == ("digests",) else sealed(record)
    with pytest.raises(ReceiptError, match=message):
        read_receipt(content)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"1", b"\xff", b"{" * 100_000, b'{"a": 1, "a": 1}'], ids=lambda one: str(one[:9])
)
def test_what_is_no_receipt_is_refused(content: bytes) -> None:
    with pytest.raises(ReceiptError, match=r"r\.json: "):
        read_receipt(content, "r.json")


def test_a_seed_that_json_has_no_number_for_is_refused() -> None:
    with pytest.raises(ReceiptError, match=r"texts\[0\].stream must have numbers below 2\^53, .* got the seed 9007199254740992"):
        replace(RECEIPT, texts=[replace(TEXTS[1], stream=[2**53])])
