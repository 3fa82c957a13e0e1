"""`samebits.text.batches` and `tokens`: windows without off-by-one errors, exact resuming, damaged files refused."""

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samebits.core import Stream
from samebits.text import Batches, TokenFileError, evaluation_windows, open_tokens, write_tokens

pytestmark = pytest.mark.once

SIZES = {"length": st.integers(2, 60), "time": st.integers(1, 9), "batch": st.integers(1, 20)}


def ids(count: int, dtype: Any = np.int64) -> Any:
    return np.arange(count, dtype=dtype)


def made(length: int = 100, batch: int = 3, time: int = 4, **options: Any) -> Batches:
    return Batches(ids(length), batch=batch, time=time, stream=Stream(7).split("batches"), **options)


# random windows


@given(**SIZES, step=st.integers(0, 100))
def test_targets_are_the_tokens_one_step_after_the_inputs(length: int, time: int, batch: int, step: int) -> None:
    if length <= time:
        return
    inputs, targets = made(length, batch, time).batch(step)
    assert inputs.shape == targets.shape == (batch, time)
    assert (targets == inputs + 1).all()  # the tokens are their own positions
    assert (np.diff(inputs, axis=1) == 1).all()
    assert inputs.min() >= 0 and targets.max() < length


@given(**SIZES)
def test_every_window_comes_once_in_every_epoch_and_none_overlap(length: int, time: int, batch: int) -> None:
    if length <= time:
        return
    batches = made(length, batch, time)
    needed = -(-3 * batches.windows // batch)
    starts = np.concatenate([batches.batch(step)[0][:, 0] for step in range(needed)])
    for epoch in range(3):
        part = np.sort(starts[epoch * batches.windows : (epoch + 1) * batches.windows])
        assert (np.diff(part) == time).all()  # so they are all different, and cover one stretch
        assert batches.windows * time + 1 > length - 2 * time  # and leave out fewer than two windows' tokens


def test_the_last_tokens_are_reached() -> None:
    for length in range(5, 30):
        batches = made(length, 1, 4)
        seen = np.concatenate([batches.batch(step)[1].reshape(-1) for step in range(60 * batches.windows)])
        assert set(seen.tolist()) == set(range(1, length))


def test_offsets_differ_between_epochs_and_all_are_used() -> None:
    batches = made(1000, 1, 8)
    offsets = Counter(int(batches.batch(epoch * batches.windows)[0][0, 0]) % 8 for epoch in range(400))
    assert sorted(offsets) == list(range(8))
    assert min(offsets.values()) > 25  # 50 each, give or take 7


def test_a_batch_goes_over_the_end_of_an_epoch() -> None:
    batches = made(10, 7, 4)  # one window an epoch
    assert batches.windows == 1
    assert {len(set(batches.batch(step)[0][:, 0].tolist())) > 1 for step in range(5)} == {True}


def test_a_batch_depends_on_its_step_alone() -> None:
    one, other = made(), made()
    forward = [one.batch(step)[0].tolist() for step in range(40)]
    assert [other.batch(step)[0].tolist() for step in reversed(range(40))] == forward[::-1]
    assert [next(other)[0].tolist() for _ in range(40)] == forward
    assert (other.step, other.epoch) == (40, 40 * 3 // other.windows)


def test_the_stream_is_not_drawn_from() -> None:
    stream = Stream(3)
    list(zip(range(20), Batches(ids(100), batch=3, time=4, stream=stream), strict=False))
    assert stream.state == Stream(3).state


def test_other_seeds_give_other_orders() -> None:
    orders = {str([next(made(batch=1))[0].tolist() for _ in range(3)])}
    for seed in range(5):
        batches = Batches(ids(100), batch=1, time=4, stream=Stream(seed))
        orders.add(str([next(batches)[0].tolist() for _ in range(3)]))
    assert len(orders) == 6


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64, ">u2"])
@pytest.mark.parametrize("batch", [1, 3])
def test_batches_are_new_int64_arrays_in_c_order_and_writeable(dtype: Any, batch: int) -> None:
    tokens = ids(100, dtype)
    tokens.flags.writeable = False
    for step_inputs, step_targets in (made().batch(0), *list(evaluation_windows(tokens, time=4, batch=batch))[::8]):
        assert not np.shares_memory(step_inputs, step_targets)
        for array in (step_inputs, step_targets):
            assert array.dtype == np.int64 and array.flags.c_contiguous and array.flags.owndata and array.flags.writeable
    assert Batches(tokens[::-1], batch=batch, time=4, stream=Stream(0)).batch(0)[0].dtype == np.int64


def test_a_resumed_run_sees_the_same_batches() -> None:
    batches = made()
    for _ in range(17):
        next(batches)
    state = json.loads(json.dumps(batches.state))
    resumed = Batches.from_state(ids(100), state)
    assert resumed.step == 17
    for _ in range(30):
        assert [x.tobytes() for x in next(resumed)] == [x.tobytes() for x in next(batches)]
    assert resumed.state == batches.state


def test_an_invalid_state_and_one_of_other_tokens_are_refused() -> None:
    state = made().state
    with pytest.raises(
        ValueError, match=r"from_state: tokens must be those of the state, 100 ids with the next batch [0-9a-f]+, got 100 ids"
    ):
        Batches.from_state(ids(100) + 1, state)
    with pytest.raises(ValueError, match=r"from_state: tokens must be those of the state, 100 ids .*, got 104 ids"):
        Batches.from_state(ids(104), state)
    for name in state:
        for wrong in ({key: value for key, value in state.items() if key != name}, {**state, name: None}):
            with pytest.raises(ValueError, match=r"from_state: "):
                Batches.from_state(ids(100), wrong)


@pytest.mark.parametrize(
    ("tokens", "options", "error", "message"),
    [
        (ids(4), {}, ValueError, r"Batches: tokens must have more than time=4 ids, got 4"),
        (ids(9).reshape(3, 3), {}, ValueError, r"Batches: tokens must be one-dimensional, got shape \(3, 3\)"),
        (["a", "b"], {}, TypeError, r"Batches: tokens must be integers, got <U1"),
        (ids(9, np.float32), {}, TypeError, r"Batches: tokens must be integers, got float32"),
        (ids(9, np.uint64) + np.uint64(2**63), {}, ValueError, r"Batches: tokens must fit int64, got 9223372036854775816"),
        (ids(9), {"stream": 0}, TypeError, r"Batches: stream must be a Stream such as Stream\(0\), got 0"),
        (ids(9), {"batch": 0}, ValueError, r"Batches: batch must be at least 1, got 0"),
        (ids(9), {"time": 2.0}, TypeError, r"Batches: time must be an int, got 2.0"),
        (ids(9), {"step": -1}, ValueError, r"Batches: step must be at least 0, got -1"),
    ],
)
def test_invalid_arguments_of_batches_are_refused(tokens: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Batches(tokens, **{"batch": 2, "time": 4, "stream": Stream(0), **options})


def test_lists_and_other_integer_types_give_the_same_batches() -> None:
    expected = [part.tobytes() for part in made().batch(0)]
    for tokens in (list(range(100)), ids(100, np.int32), ids(100, np.uint64)):
        same = Batches(tokens, batch=np.int64(3), time=np.int32(4), stream=Stream(7).split("batches"), step=np.uint8(0))
        assert [part.tobytes() for part in same.batch(np.int64(0))] == expected
        assert type(same.state["batch"]) is type(same.state["time"]) is type(same.state["step"]) is int
        assert Batches.from_state(tokens, made().state).step == 0


# evaluation


@given(**SIZES)
def test_evaluation_has_every_token_but_the_first_as_a_target_once_and_in_order(length: int, time: int, batch: int) -> None:
    found = list(evaluation_windows(ids(length), time=time, batch=batch))
    assert np.concatenate([targets.reshape(-1) for _, targets in found]).tolist() == list(range(1, length))
    assert all((targets == inputs + 1).all() and len(inputs) <= batch and inputs.shape[1] <= time for inputs, targets in found)
    assert all(inputs.shape == (batch, time) for inputs, _ in found[:-2])


def test_evaluation_windows_refuses_invalid_arguments_at_once() -> None:
    with pytest.raises(ValueError, match=r"evaluation_windows: tokens must have at least 2 ids, an input and its target, got 1"):
        evaluation_windows(ids(1), time=4, batch=2)
    with pytest.raises(ValueError, match=r"evaluation_windows: batch must be at least 1, got 0"):
        evaluation_windows(ids(9), time=4, batch=0)


# token files


@pytest.mark.parametrize(("vocabulary", "dtype"), [(1, "<u2"), (65_536, "<u2"), (65_537, "<u4"), (2**32, "<u4")])
def test_opened_tokens_are_the_written_ones(tmp_path: Path, vocabulary: int, dtype: str) -> None:
    values = [0, vocabulary - 1, vocabulary // 2]
    tokens = write_tokens(tmp_path / "tokens", [values, [], np.array(values, np.uint64)], vocabulary_size=vocabulary)
    assert tokens.ids.tolist() == values * 2 and tokens.ids.dtype == dtype
    assert (len(tokens), tokens.vocabulary_size, tokens.tokenizer) == (6, vocabulary, "")
    assert not tokens.ids.flags.writeable and type(tokens.ids) is np.ndarray
    tokens.verify()


def test_open_files_can_be_compared_and_are_equal_to_themselves_alone(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens", ids(5), vocabulary_size=5)
    assert tokens == tokens and tokens != open_tokens(tmp_path / "tokens")  # noqa: PLR0124


def test_the_file_format_is_the_documented_one(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens", np.array([1, 258]), vocabulary_size=300, tokenizer="ab" * 32)
    content = (tmp_path / "tokens").read_bytes()
    assert content[:40] == b"samebits tokens\n" + struct.pack("<IIQQ", 1, 2, 300, 2)
    assert content[40:104].hex() == tokens.digest + "ab" * 32
    assert content[128:] == b"\x01\x00\x02\x01"
    assert tokens.tokenizer == "ab" * 32
    assert open_tokens(tmp_path / "tokens").digest == tokens.digest


def test_large_parts_are_written_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samebits.text.tokens._BLOCK", 7)
    tokens = write_tokens(tmp_path / "tokens", (ids(n) for n in (20, 0, 7, 1)), vocabulary_size=20)
    assert tokens.ids.tolist() == [*range(20), *range(7), 0]
    tokens.verify()


def test_an_empty_token_file_can_be_written_and_opened(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens", [], vocabulary_size=5)
    tokens.verify()
    assert len(tokens) == 0


@pytest.mark.parametrize(
    ("tokens", "options", "error", "message"),
    [
        ([[0, 1], [2, 5, 1]], {}, ValueError, r"write_tokens: tokens\[3\] must be from 0 to 4, got 5"),
        ([[0, -1]], {}, ValueError, r"write_tokens: tokens\[1\] must be from 0 to 4, got -1"),
        ([[0.5]], {}, TypeError, r"part 0 of tokens must be one-dimensional integers, got shape \(1,\) and float64"),
        ([1, 2.5], {}, TypeError, r"write_tokens: tokens must be one-dimensional integers, got shape \(2,\) and float64"),
        ([[0], 1], {}, TypeError, r"part 1 of tokens must be one-dimensional integers, got shape \(\) and int"),
        ([[True]], {}, TypeError, r"got shape \(1,\) and bool"),
        (ids(4).reshape(2, 2), {}, TypeError, r"write_tokens: tokens must be one-dimensional integers, got shape \(2, 2\)"),
        ([], {"vocabulary_size": 0}, ValueError, r"write_tokens: vocabulary_size must be from 1 to 4294967296, got 0"),
        (
            [],
            {"vocabulary_size": 2**32 + 1},
            ValueError,
            r"write_tokens: vocabulary_size must be from 1 to 4294967296, got 4294967297",
        ),
        (
            [],
            {"tokenizer": "gpt2"},
            ValueError,
            r"write_tokens: tokenizer must be a digest of 64 hexadecimal digits or '', got 'gpt2'",
        ),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, tokens: Any, options: Any, error: Any, message: str
) -> None:
    old = write_tokens(tmp_path / "tokens", [[1]], vocabulary_size=5)
    with pytest.raises(error, match=message):
        write_tokens(tmp_path / "tokens", tokens, **{"vocabulary_size": 5, **options})
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]
    assert open_tokens(old.path).ids.tolist() == [1]


def test_a_list_of_ids_is_written_as_an_array_is(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens", [1, np.int64(2), 0], vocabulary_size=np.int64(3))
    assert tokens.ids.tolist() == [1, 2, 0] and type(tokens.vocabulary_size) is int


def test_an_interrupted_iterator_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[list[int]]:
        yield [1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tokens(tmp_path / "tokens", interrupted(), vocabulary_size=5)
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 147), value=st.integers(0, 255), cut=st.integers(0, 148), more=st.binary(max_size=3))
def test_a_mangled_or_truncated_file_is_refused(tmp_path: Path, place: int, value: int, cut: int, more: bytes) -> None:
    path = tmp_path / "tokens"
    if not path.exists():
        write_tokens(path, ids(10), vocabulary_size=10)
    content = path.read_bytes()
    assert len(content) == 148
    mangled = bytearray(content)
    mangled[place] = value
    for other in (bytes(mangled), content[:cut], content + more):
        (tmp_path / "other").write_bytes(other)
        if other == content:
            open_tokens(tmp_path / "other").verify()
            continue
        with pytest.raises(TokenFileError, match=r"not a token file|damaged|version"):
            open_tokens(tmp_path / "other").verify()


@pytest.mark.parametrize("count", [2**40, 2**63, 2**64 - 1])
def test_a_header_with_a_wrong_count_is_refused_before_anything_is_mapped(tmp_path: Path, count: int) -> None:
    from samebits.text import tokens

    path = tmp_path / "tokens"
    path.write_bytes(tokens._signed(tokens._MAGIC, 1, 2, 5, count, bytes(32), bytes(32)) + bytes(10))
    with pytest.raises(TokenFileError, match=r"has 138 bytes, but \d+ ids take \d+"):
        open_tokens(path)
    path.write_bytes(tokens._signed(tokens._MAGIC, 1, 4, 5, 0, bytes(32), bytes(32)))
    with pytest.raises(TokenFileError, match=r"ids of 4 bytes do not match a vocabulary of 5"):
        open_tokens(path)


def test_an_id_outside_the_vocabulary_is_refused_also_under_a_correct_checksum(tmp_path: Path) -> None:
    from samebits.text import tokens

    path = write_tokens(tmp_path / "tokens", [4, 0], vocabulary_size=5).path
    content = np.array([5, 0], "<u2").tobytes()
    digest = hashlib.sha256(content).digest()
    path.write_bytes(tokens._signed(tokens._MAGIC, 1, 2, 5, 2, digest, bytes(32)) + content)
    with pytest.raises(TokenFileError, match=r"tokens is damaged: it has the id 5, but a vocabulary of 5"):
        open_tokens(path).verify()


def test_batches_of_a_file_are_those_of_the_array(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens", ids(100), vocabulary_size=100)
    batches = Batches.from_state(tokens.ids, made().state)
    assert [x.tobytes() for x in next(batches)] == [x.tobytes() for x in next(made())]
