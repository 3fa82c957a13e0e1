"""Edits: when an array was last modified, and arrays that are read-only until they are edited."""

import gc

import numpy as np
import pytest

from samebits.autograd import Tensor, edits


def test_a_view_has_the_stamp_of_the_array_that_owns_its_memory() -> None:
    array = np.zeros((3, 4), np.float32)
    assert edits.stamp_of(array) == 0
    edits.note(array[1:, ::2], 7)
    edits.note(array[0], 9)
    assert edits.stamp_of(array) == edits.stamp_of(array.T) == 9


def test_the_record_of_an_edit_is_removed_with_its_array() -> None:
    array = np.zeros(3, np.float32)
    edits.note(array, 1)
    key = id(array)
    assert key in edits._edited
    del array
    gc.collect()
    assert key not in edits._edited


def test_a_frozen_array_can_be_written_to_only_by_an_edit() -> None:
    x = Tensor([1.0, 2.0])
    edits.freeze(np.asarray(x.data))
    with pytest.raises(ValueError, match="read-only"):
        x.data += 1
    with x.edit() as array:
        array[...] += 1
    assert x.tolist() == [2.0, 3.0]


def test_thaw_leaves_arrays_read_only_that_freeze_did_not_change() -> None:
    array = np.zeros(2, np.float32)
    array.flags.writeable = False
    edits.freeze(array)
    edits.thaw(array)
    assert not array.flags.writeable


def test_the_record_of_a_frozen_array_is_removed_with_it() -> None:
    array = np.zeros(2, np.float32)
    edits.freeze(array)
    key = id(array)
    assert key in edits._frozen
    del array
    gc.collect()
    assert key not in edits._frozen
