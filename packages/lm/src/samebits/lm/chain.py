"""The digest chain of a text: one value after each token, which depends on all logits and tokens so far.

    value = SHA-256(the value before, the logits as little-endian float32, the token id as 8 little-endian bytes)

The first value is ``SHA-256(b"samebits.logits/1")``. With the value before it, a step can be checked by itself; the last value stands
for the whole text, to the last bit of every logit.
"""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["Chain"]

Float32 = npt.NDArray[np.float32]


class Chain:
    """A digest chain over the logits and tokens of a text.

    Args:
        value: The value to continue from, 64 hexadecimal digits; by default the first one.

    Example:
        >>> chain = Chain()
        >>> value = chain.add(np.array([0.5, 2.0], np.float32), 1)
        >>> value[:16], chain.value == value
        ('0c2bd866d2a0bb8a', True)
        >>> Chain(Chain().value).add(np.array([0.5, 2.0], np.float32), 1) == value
        True
    """

    value: str
    """The value so far, 64 hexadecimal digits."""

    def __init__(self, value: str | None = None) -> None:
        self.value = hashlib.sha256(b"samebits.logits/1").hexdigest() if value is None else value

    def add(self, logits: Float32, token: int) -> str:
        """Add a step, and return the new value.

        Args:
            logits: The model's logits (V,), without bias, penalties and temperature.
            token: The id that was chosen.
        """
        found = hashlib.sha256(bytes.fromhex(self.value))
        found.update(np.ascontiguousarray(logits, "<f4"))
        found.update(token.to_bytes(8, "little"))
        self.value = found.hexdigest()
        return self.value
