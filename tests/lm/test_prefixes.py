"""Prefix cache: what was read before is not read again, and changes no bit."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.requests import ARITHMETICS, LETTERS, MODEL, MODELS, alone, finished, request, tokens_of

from samebits.core import Stream, numerics
from samebits.lm.checkpoint import load, save
from samebits.lm.engine import Engine, Written
from samebits.lm.prefixes import PrefixCache
from samebits.nn.cache import KeyValueCache

pytestmark = pytest.mark.once

PLAIN: dict[str, Any] = {"stop": [], "stop_ids": [], "tokens": 8, "logged": True, "chained": True}
SYSTEM = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4]  # a beginning that many prompts have


def run(prefixes: PrefixCache | None, prompts: list[list[int]], **options: Any) -> list[list[Written]]:
    """The answers to prompts, one after the other."""
    engine, answers = Engine(MODEL, LETTERS, prefixes=prefixes), []
    for i, prompt in enumerate(prompts):
        engine.add(request(i, prompt=prompt, **{**PLAIN, **options}))
        answers.append(list(finished(engine)))
    return answers


def cache_of(ids: list[int], capacity: int = 64) -> KeyValueCache:
    """A cache of one layer that has ids; its keys and values are made of them."""
    cache = KeyValueCache(batch=1, heads=1, capacity=capacity, channels=4)
    new = np.stack([Stream(one).normal(size=4) for one in ids])[None, None]
    cache.append(new, -new)
    return cache


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("architecture", MODELS)
def test_answers_are_the_same_with_and_without_the_cache(architecture: str, arithmetic: Any) -> None:
    model = MODELS[architecture]
    prompts = [SYSTEM, [*SYSTEM, 1], [*SYSTEM[:18], 0, 0], SYSTEM, [7], [*SYSTEM, 1, 2, 3], SYSTEM[:16]]
    with numerics(arithmetic):
        engine, cached = Engine(model, LETTERS, prefixes=PrefixCache("m", arithmetic), piece=5), []
        for i, prompt in enumerate(prompts):
            engine.add(request(i, prompt=prompt, **PLAIN))
            found = list(finished(engine))
            assert tokens_of(found, i) == alone(request(i, prompt=prompt, **PLAIN), i, model)
            cached.append({written.cached for written in found})
    assert cached == [{0}, {20}, {18}, {19}, {0}, {21}, {15}]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@settings(max_examples=10)
@given(
    cuts=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), min_size=2, max_size=12),
    limit=st.sampled_from([0, 20_000, 100_000, 2**30]),
)
def test_no_bound_and_no_order_of_prompts_changes_a_bit(arithmetic: Any, cuts: list[tuple[int, int]], limit: int) -> None:
    text = Stream(1).integers(10, size=40).tolist()
    with numerics(arithmetic):
        prefixes = PrefixCache("m", arithmetic, limit=limit)
        engine = Engine(MODEL, LETTERS, slots=3, prefixes=prefixes, piece=16)
        requests = [request(i, prompt=[*text[: cut - 1], last]) for i, (cut, last) in enumerate(cuts)]
        found: list[Written] = []
        for one in requests:
            engine.add(one)
            found += engine.step()
        found += finished(engine)
        for i, one in enumerate(requests):
            assert tokens_of(found, i) == alone(one, i)
    assert prefixes.size <= limit


def test_an_answer_is_part_of_the_next_prompt() -> None:
    prefixes = PrefixCache("m", "exact")
    first = run(prefixes, [SYSTEM])[0]
    text = [*SYSTEM, *[written.token.id for written in first if written.token]]
    second = run(prefixes, [[*text, 1, 2]])[0]
    assert second[0].cached == len(text) - 1  # the model has not read the last token of the answer


def test_equal_prompts_that_come_together_are_read_once() -> None:
    engine = Engine(MODEL, LETTERS, prefixes=PrefixCache("m", "exact"))
    for i in range(4):
        engine.add(request(i, prompt=SYSTEM, **PLAIN))
    found = list(finished(engine))
    assert {(written.number, written.cached) for written in found} == {(0, 0), (1, 19), (2, 19), (3, 19)}


def test_blocks_that_were_not_used_for_the_longest_time_are_dropped() -> None:
    texts = [[i] * 32 for i in range(3)]
    size = sum(x.nbytes for x in cache_of(texts[0]).part(0, 32))
    prefixes = PrefixCache("m", "exact", limit=2 * size)
    prefixes.store(texts[0], cache_of(texts[0]))
    prefixes.store(texts[1], cache_of(texts[1]))
    assert prefixes.load(texts[0], cache_of([9])) == 32
    prefixes.store(texts[2], cache_of(texts[2]))
    assert [prefixes.load(text, cache_of([9])) for text in texts] == [32, 0, 32] and prefixes.size == 2 * size


def test_a_longer_end_replaces_a_shorter_one() -> None:
    prefixes = PrefixCache("m", "exact")
    for length in (5, 9, 7, 9):
        prefixes.store(SYSTEM[:length], cache_of(SYSTEM[:length]))
    other = cache_of([9])
    assert prefixes.load(SYSTEM, other) == 9
    for x, expected in zip(other.part(0, 16), cache_of(SYSTEM[:9]).part(0, 16), strict=True):
        assert (x[:, :, :9] == expected[:, :, :9]).all()
    assert prefixes.size == sum(x.nbytes for x in other.part(0, 16))


# Files


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_another_process_has_the_same_answers_from_the_files(arithmetic: Any, tmp_path: Path) -> None:
    with numerics(arithmetic):
        expected = run(None, [SYSTEM, [*SYSTEM, 1]])
        prefixes = PrefixCache("m", arithmetic, folder=tmp_path)
        run(prefixes, [SYSTEM])
        prefixes.close()
        again = PrefixCache("m", arithmetic, folder=tmp_path)
        assert again.size == prefixes.size
        answers = run(again, [SYSTEM, [*SYSTEM, 1]])
        again.close()
    assert [[one.token for one in answer] for answer in answers] == [[one.token for one in answer] for answer in expected]
    assert [answer[0].cached for answer in answers] == [19, 20]


def test_models_and_arithmetics_have_files_of_their_own(tmp_path: Path) -> None:
    ids = SYSTEM[:16]
    for model, arithmetic in (("m", "exact"), ("n", "exact"), ("m", "int16")):
        prefixes = PrefixCache(model, arithmetic, folder=tmp_path)  # type: ignore[arg-type]
        assert prefixes.load(ids, cache_of([9])) == 0
        prefixes.store(ids, cache_of(ids))
        prefixes.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert PrefixCache("m", "exact", folder=tmp_path).load(ids, cache_of([9])) == 16


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def shrink(path: Path) -> None:
    tensors, metadata, _ = load(path)
    save(path, {name: x[..., :3] for name, x in tensors.items()}, metadata)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip(path, -1),
        lambda path: flip(path, 3),
        lambda path: path.write_bytes(b""),
        lambda path: save(path, {}, {"parent": "0" * 64}),
        lambda path: save(path, {}, {"parent": "zz", "ids": "[1]"}),
        lambda path: save(path, {}, {"parent": "0" * 64, "ids": "[1]"}),
        lambda path: save(path, {}, {"parent": "0" * 64, "ids": "5"}),
        lambda path: save(path, {}, {"parent": "0" * 64, "ids": f"[{10**30}]"}),
        shrink,
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_file_is_read_and_written_again(damage: Any, tmp_path: Path) -> None:
    text = [*range(8)] * 6
    prefixes = PrefixCache("m", "exact", folder=tmp_path)
    prefixes.store(text, cache_of(text))
    prefixes.close()
    folder = next(tmp_path.iterdir())
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    chain = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    damage(chain[1])
    again = PrefixCache("m", "exact", folder=tmp_path)
    assert again.load(text, cache_of([9])) == 16
    again.store(text, cache_of(text))
    again.close()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == good
    assert PrefixCache("m", "exact", folder=tmp_path).load(text, cache_of([9])) == 48


def test_a_file_that_is_damaged_while_it_is_in_use_counts_as_missing(tmp_path: Path) -> None:
    text = [*range(8)] * 6
    prefixes = PrefixCache("m", "exact", folder=tmp_path)
    prefixes.store(text, cache_of(text))
    prefixes.close()
    again = PrefixCache("m", "exact", folder=tmp_path)
    for path in next(tmp_path.iterdir()).iterdir():
        flip(path, -1)
    assert again.load(text, cache_of([9])) == 0 and again.size == 0
    again.close()
    assert list(next(tmp_path.iterdir()).iterdir()) == []


def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    text = SYSTEM[:16]
    prefixes = PrefixCache("m", "exact", folder=tmp_path)
    prefixes.store(text, cache_of(text))
    prefixes.close()
    path = next(next(tmp_path.iterdir()).iterdir())
    left = path.with_name(f".{path.name}.abc.new")  # as of `replace_file`
    left.write_bytes(b"a part")
    assert PrefixCache("m", "exact", folder=tmp_path).load(text, cache_of([9])) == 16
    assert path.exists() and not left.exists()


def test_what_is_no_file_in_the_folder_is_not_used(tmp_path: Path) -> None:
    text = SYSTEM[:16]
    prefixes = PrefixCache("m", "exact", folder=tmp_path)
    prefixes.store(text, cache_of(text))
    prefixes.close()
    folder = next(tmp_path.iterdir())
    for name in ("a.safetensors", ".a.new"):
        (folder / name).mkdir()
    (folder / "b.safetensors").symlink_to("nothing")
    (folder / "c.safetensors").symlink_to("c.safetensors")
    assert PrefixCache("m", "exact", folder=tmp_path).load(text, cache_of([9])) == 16


def test_blocks_that_wait_for_a_slow_disk_take_limited_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [[i] * 16 for i in range(8)]
    size, go_on = sum(x.nbytes for x in cache_of(texts[0]).part(0, 16)), threading.Event()
    monkeypatch.setattr("samebits.lm.prefixes.save", lambda *_: go_on.wait())
    monkeypatch.setattr("samebits.lm.prefixes._UNWRITTEN", 3 * size)
    prefixes = PrefixCache("m", "exact", folder=tmp_path)
    for text in texts:
        prefixes.store(text, cache_of(text))
    assert prefixes._unwritten == 3 * size
    go_on.set()
    prefixes._files.submit(int).result()  # after those that wait
    prefixes.store([9] * 16, cache_of([9] * 16))
    assert prefixes._unwritten == size
    prefixes.close()


def test_the_bound_holds_for_files_too(tmp_path: Path) -> None:
    texts = [[i] * 16 for i in range(4)]
    size = sum(x.nbytes for x in cache_of(texts[0]).part(0, 16))
    prefixes = PrefixCache("m", "exact", limit=3 * size, folder=tmp_path)
    for text in texts:
        prefixes.store(text, cache_of(text))
    prefixes.close()
    paths = list(next(tmp_path.iterdir()).iterdir())
    assert len(paths) == 3
    for path in paths:
        i = load(path).metadata["ids"].count("3") // 16  # the newest
        os.utime(path, ns=(i, i))
    smaller = PrefixCache("m", "exact", limit=size, folder=tmp_path)
    smaller.close()
    assert smaller.load(texts[3], cache_of([9])) == 16 and smaller.size == size
    assert len(list(next(tmp_path.iterdir()).iterdir())) == 1


def test_a_folder_or_a_bound_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        PrefixCache("m", "exact", folder=tmp_path / "file")
    with pytest.raises(ValueError, match="PrefixCache: limit must be at least 0, got -1"):
        PrefixCache("m", "exact", limit=-1)
    with pytest.raises(ValueError, match="Engine: prefixes must have the active arithmetic, exact, got int16"):
        Engine(MODEL, LETTERS, prefixes=PrefixCache("m", "int16"))
