"""The digest chain: its definition, and that it notices every change."""

import hashlib

import numpy as np

from samebits.lm.chain import Chain

LOGITS = np.array([[0.5, 2.0, -0.0], [1.0, np.float32(1) / 3, -np.inf]], np.float32)


def test_a_value_is_that_of_its_definition() -> None:
    chain, value = Chain(), hashlib.sha256(b"samebits.logits/1").digest()
    assert chain.value == value.hex()
    for logits, token in zip(LOGITS, (1, 300), strict=True):
        value = hashlib.sha256(value + logits.astype("<f4").tobytes() + token.to_bytes(8, "little")).digest()
        assert chain.add(logits, token) == chain.value == value.hex()


def test_a_chain_continues_from_a_value() -> None:
    whole, first = Chain(), Chain()
    whole.add(LOGITS[0], 1)
    first.add(LOGITS[0], 1)
    assert Chain(first.value).add(LOGITS[1], 2) == whole.add(LOGITS[1], 2)


def test_memory_layout_changes_nothing() -> None:
    assert Chain().add(np.asfortranarray(LOGITS)[1], 1) == Chain().add(LOGITS[1].astype(">f4"), 1) == Chain().add(LOGITS[1], 1)


def test_every_bit_counts() -> None:
    def value(logits: np.ndarray, token: int) -> str:
        return Chain().add(logits, token)

    found = [value(LOGITS[0], 1), value(LOGITS[0], 2), value(-LOGITS[0], 1), value(np.nextafter(LOGITS[0], np.float32(9)), 1)]
    positive_zero = np.array([0.5, 2.0, 0.0], np.float32)
    assert len({*found, value(positive_zero, 1)}) == 5
