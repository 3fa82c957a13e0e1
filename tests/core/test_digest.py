"""A digest depends on dtype, shape and bytes alone, not on the array's memory layout or byte order."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from samebits.core import digest

PORTABLE = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    npst.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)


def test_digest_is_sha256_of_the_documented_text() -> None:
    array = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    text = b"samebits.digest/1 <f4 (2, 3)\n" + array.astype("<f4").tobytes()
    assert digest(array) == hashlib.sha256(text).hexdigest()


def test_digests_of_known_arrays_never_change() -> None:
    assert digest(np.arange(3, dtype=np.int64)) == "604b2c24e97d9f934a1ff2d9ac402c441ddfc51c7c97f5abbc38ad02241b89dd"
    assert digest(np.float32(1)) == "09c631b1d4bd49c0fa5ad908d01946b6f4c74922c85da3822df4791b69dc4bab"
    assert digest(np.zeros((0, 3), np.float32)) == "4512b9e7279ebe9622e0280eeb947c64b743308d644ba4c6a09ad946fc64e79b"
    assert digest(np.zeros((), bool)) == "ea1955411b4e266637b2ab6ec90bc7f9997db99e4804398737d8450ad5fd3cfb"


@given(npst.arrays(PORTABLE, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_memory_order_byte_order_and_strides_do_not_matter(array: npt.NDArray[Any]) -> None:
    expected = digest(array)
    assert digest(np.asfortranarray(array).reshape(array.shape)) == expected
    assert digest(array.astype(array.dtype.newbyteorder())) == expected
    padded = np.zeros((*array.shape, 2), array.dtype)
    padded[..., 1] = array
    assert digest(padded[..., 1]) == expected


def test_dtype_shape_sign_of_zero_and_nan_payload_all_count() -> None:
    nan = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    different = [
        np.zeros(2, np.float32),
        np.zeros(2, np.int32),
        np.zeros((2, 1), np.float32),
        np.zeros((1, 2), np.float32),
        np.zeros(3, np.float32),
        np.array([0.0, -0.0], np.float32),
        nan,
        nan[:1],
        nan[1:],
    ]
    assert len({digest(array) for array in different}) == len(different)


def test_the_array_is_not_modified() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3)[:, ::-1]
    array.flags.writeable = False
    before = array.tobytes()
    digest(array)
    assert array.tobytes() == before
    assert array.dtype == ">f4"


@pytest.mark.parametrize("wrong", [[1, 2], 1.0, "text", None])
def test_what_has_no_dtype_of_its_own_is_refused(wrong: object) -> None:
    with pytest.raises(
        TypeError, match=f"digest: array must be a NumPy array or scalar, got {type(wrong).__name__}; convert with np.asarray"
    ):
        digest(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[s]", "m8[s]", "g", "f4,i8"])
def test_dtypes_without_portable_bytes_are_refused(dtype: str) -> None:
    with pytest.raises(
        TypeError, match="digest: array must have a boolean, integer, floating or complex dtype of fixed size, got"
    ):
        digest(np.zeros(2, dtype))
