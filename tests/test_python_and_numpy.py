"""The first technology: Python and NumPy. Importing them is their implementation; trying them out is their test.

Each test names one thing that the language model relies on. What changes with the NumPy version, the CPU or the BLAS library
is left out on purpose: nothing may rely on that.
"""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from tools.locks import pins

ROOT = Path(__file__).parents[1]


def test_integers_are_summed() -> None:
    assert np.sum(np.array([1, 2, 3], np.int64)) == 6


def test_the_identity_matrix_changes_nothing() -> None:
    matrix = np.array([[2, 0, 1], [1, 3, -1], [0, 5, 4]], np.float64)
    identity = np.eye(3)
    np.testing.assert_array_equal(matrix @ identity, matrix)
    np.testing.assert_array_equal(identity @ matrix, matrix)


@pytest.mark.skipif("SAMEBITS_CELL" not in os.environ, reason="not run as a cell of the matrix")
def test_cell_runs_the_python_of_its_name_and_the_numpy_of_its_lock() -> None:
    python, numpy = os.environ["SAMEBITS_CELL"].split()
    assert f"{sys.version_info.major}.{sys.version_info.minor}" == python
    assert np.__version__ == pins(ROOT / f"requirements/numpy-{numpy}.txt")["numpy"]
    assert np.__version__.startswith(f"{numpy}.")


@pytest.mark.skipif("SAMEBITS_CELL" not in os.environ, reason="not run as a cell of the matrix")
def test_cell_tests_the_wheels_and_not_the_source_tree() -> None:
    import samebits

    assert [path for path in samebits.__path__ if not Path(path).is_relative_to(sys.prefix)] == []


def test_shapes_broadcast_from_the_right() -> None:
    row, column = np.arange(3, dtype=np.int64), np.arange(2, dtype=np.int64)[:, np.newaxis]
    np.testing.assert_array_equal(row + 10 * column, [[0, 1, 2], [10, 11, 12]])
    assert np.broadcast_shapes((5, 1, 3), (4, 1)) == (5, 4, 3)
    with pytest.raises(ValueError, match="broadcast"):
        np.zeros((2, 3)) + np.zeros((3, 2))


def test_broadcasting_copies_nothing() -> None:
    wide = np.broadcast_to(np.arange(3.0), (1000, 3))
    assert wide.strides == (0, 8)
    assert not wide.flags.writeable


def test_float32_arrays_stay_float32_beside_python_numbers() -> None:
    x = np.ones(3, np.float32)
    for result in (x + 1, x * 2.5, 1 / x, x - np.float32(1), np.sqrt(x), x.sum(), x @ x):
        assert result.dtype == np.float32


def test_float32_arrays_stay_float32_beside_0d_float32_arrays() -> None:
    assert (np.ones(3, np.float32) * np.array(0.1, np.float32)).dtype == np.float32


def test_float32_and_float64_arrays_make_float64_and_int64_makes_float64() -> None:
    assert (np.ones(2, np.float32) + np.ones(2, np.float64)).dtype == np.float64
    assert (np.ones(2, np.float32) + np.ones(2, np.int64)).dtype == np.float64
    assert (np.ones(2, np.int64) + np.ones(2, np.int32)).dtype == np.int64


def test_float64_scalars_promote_under_nep_50_only() -> None:
    # why our constants are 0-d arrays of the working dtype: a float64 scalar has two meanings
    expected = np.float64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else np.float32
    assert (np.ones(2, np.float32) + np.float64(0.1)).dtype == expected


def test_int64_arrays_hold_large_integers() -> None:
    assert np.arange(3, dtype=np.int64).dtype == np.int64
    assert np.array([2**40], np.int64)[0] + np.int64(1) == 2**40 + 1


def test_slices_are_views() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    x[1:, ::2] = 0
    np.testing.assert_array_equal(x, [[0, 1, 2, 3], [0, 5, 0, 7], [0, 9, 0, 11]])
    assert np.shares_memory(x, x[::-1, 1:])


def test_transposing_and_splitting_axes_only_changes_strides() -> None:
    x = np.zeros((2, 8, 6), np.float32)  # (B, T, C)
    heads = x.reshape(2, 8, 3, 2).swapaxes(1, 2)  # (B, H, T, D)
    assert heads.shape == (2, 3, 8, 2)
    assert heads.strides == (192, 8, 24, 4)
    assert np.shares_memory(x, heads)


def test_bits_of_a_float_can_be_read_and_written_through_a_view() -> None:
    x = np.array([1.0, -2.0], np.float32)
    bits = x.view(np.uint32)
    assert [hex(one) for one in bits.tolist()] == ["0x3f800000", "0xc0000000"]
    bits += np.uint32(1 << 23)  # the exponent grows by one
    np.testing.assert_array_equal(x, [2.0, -4.0])


def test_windows_over_tokens_are_views() -> None:
    tokens = np.arange(6, dtype=np.int64)
    windows = sliding_window_view(tokens, 4)
    np.testing.assert_array_equal(windows, [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]])
    assert np.shares_memory(tokens, windows)


def test_integer_arrays_index_rows_in_any_order_and_repeatedly() -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    ids = np.array([[2, 0], [2, 2]], np.int64)
    np.testing.assert_array_equal(table[ids], [[[4, 5], [0, 1]], [[4, 5], [4, 5]]])
    np.testing.assert_array_equal(table.take(ids, axis=0), table[ids])


def test_take_along_axis_picks_one_logit_a_row() -> None:
    logits = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    targets = np.array([[2], [0]], np.int64)
    np.testing.assert_array_equal(np.take_along_axis(logits, targets, axis=-1), [[3], [4]])


def test_indices_out_of_range_are_refused() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        np.zeros((3, 2)).take([3], axis=0)


def test_masks_select() -> None:
    mask = np.tril(np.ones((3, 3), bool))
    scores = np.where(mask, np.float32(0), np.float32(-np.inf))
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(np.isinf(scores), ~mask)


def test_stable_argsort_keeps_the_order_of_equal_elements() -> None:
    keys = np.array([1, 0, 1, 0, 1], np.int64)
    np.testing.assert_array_equal(np.argsort(keys, kind="stable"), [1, 3, 0, 2, 4])


def test_reductions_take_axes_and_can_keep_them() -> None:
    x = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    assert x.sum(axis=(0, 2)).tolist() == [60.0, 92.0, 124.0]
    assert x.max(axis=-1, keepdims=True).shape == (2, 3, 1)
    np.testing.assert_array_equal(np.add.reduceat(np.arange(8), [0, 3, 5]), [3, 7, 18])
    assert np.zeros((0, 3)).sum(axis=0).tolist() == [0.0, 0.0, 0.0]


def test_integers_in_float64_sum_exactly_in_any_order() -> None:
    x = np.arange(-5000.0, 5001.0)
    assert x.sum() == x[::-1].sum() == 0
    assert x @ x == sum(int(i) ** 2 for i in range(-5000, 5001))


def test_arithmetic_is_correctly_rounded_and_never_fused() -> None:
    a = np.full(64, 1 + 2.0**-12, np.float32)  # a² has 25 bits: rounding it to 24 drops the last
    np.testing.assert_array_equal(a * a - np.float32(1 + 2.0**-11), np.zeros(64))
    assert np.float32(1) / np.float32(3) == np.float32(0x55555555 / 2**32)
    assert np.sqrt(np.float32(2)).view(np.uint32) == 0x3FB504F3


def test_subnormal_numbers_are_kept() -> None:
    tiny = np.array([1e-45], np.float32)
    assert tiny.view(np.uint32)[0] == 1
    assert (tiny * np.float32(1))[0] > 0


def test_raw_words_of_pcg64_are_those_nep_19_guarantees() -> None:
    words = np.random.PCG64(np.random.SeedSequence(2026)).random_raw(3)
    assert words.dtype == np.uint64
    assert words.tolist() == [3300764713747675562, 11804314397344746687, 8619580609625321962]


def test_bit_generators_resume_from_their_state() -> None:
    generator = np.random.PCG64(1)
    generator.random_raw(7)
    state = generator.state
    expected = generator.random_raw(5)
    resumed = np.random.PCG64(2)
    resumed.state = state
    np.testing.assert_array_equal(resumed.random_raw(5), expected)


@pytest.mark.parametrize("dtype", ["<f4", "<i8", "|b1", "<u2"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_npy_files_keep_dtype_shape_and_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    file.seek(0)
    loaded = np.load(file, allow_pickle=False)
    assert (loaded.dtype, loaded.shape, loaded.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_memory_maps_read_parts_of_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", np.arange(1000, dtype=np.uint16))
    tokens = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    assert isinstance(tokens, np.memmap)
    assert tokens[500:503].tolist() == [500, 501, 502]
