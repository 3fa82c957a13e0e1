r"""Digests: SHA-256 of the exact bytes of an array.

Two arrays have the same digest if and only if (up to a SHA-256 collision) they have the same dtype, shape and bytes.
What is hashed is a canonical description and then the elements, so a digest does not depend on the platform:

    samebits.digest/1 <f4 (2, 3)\n<24 bytes, little-endian, in C order>

The tests compare digests wherever they claim the same bits. Comparing with a tolerance is left to ``numpy.testing``.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["digest"]

_KINDS = "biufc"  # bool, int, uint, float, complex: their bytes mean the same on every platform


def digest(array: npt.NDArray[Any] | np.generic) -> str:
    r"""Return the SHA-256 of an array's dtype, shape and bytes as 64 hexadecimal digits, the same on every platform.

    Args:
        array: An array or NumPy scalar of any shape, memory order and byte order, with a boolean, integer, floating
            or complex dtype of fixed size.

    Returns:
        SHA-256 of ``samebits.digest/1 DTYPE SHAPE\n`` and the elements, little-endian and in C order. The sign of zero and
        the payload of NaN count.

    Raises:
        TypeError: ``array`` is not a NumPy array or scalar (the dtype of a list depends on the platform), is a masked
            array, or has a dtype whose bytes depend on the platform: objects, strings, records, dates, ``longdouble``.

    Example:
        >>> import numpy as np
        >>> digest(np.arange(3, dtype=np.int64))
        '604b2c24e97d9f934a1ff2d9ac402c441ddfc51c7c97f5abbc38ad02241b89dd'
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise TypeError(
            f"digest: array must be a NumPy array or scalar, got {type(array).__name__}; convert with np.asarray(array, dtype)"
        )
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("digest: array must not be a masked array; convert with array.filled(value)")
    dtype = array.dtype.newbyteorder("<")
    if dtype.kind not in _KINDS or dtype.char in "gG":
        raise TypeError(f"digest: array must have a boolean, integer, floating or complex dtype of fixed size, got {array.dtype}")
    elements = np.ascontiguousarray(array, dtype=dtype)
    shape = ", ".join(map(str, array.shape))
    state = hashlib.sha256(f"samebits.digest/1 {dtype.str} ({shape})\n".encode())
    state.update(elements.reshape(-1).view(np.uint8).data)
    return state.hexdigest()
