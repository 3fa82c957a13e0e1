"""Attention: the formula and its gradients, and that the result for a token depends on what it sees and on nothing else.

The latter is compared bit for bit: every prefix, every split into cached pieces, prompts alone and padded in a batch, and keys in
another order, which does not change exact sums.
"""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samebits.autograd import GraphError, Tensor, gradient_check, gradients, no_grad
from samebits.core import Stream, blocks, current, numerics
from samebits.nn.cache import CacheOverrunError, KeyValueCache
from samebits.nn.multihead import MultiHeadAttention
from samebits.nn.positions import Rotary
from samebits.nn.scaled_dot_product import attention


def normal(*shape: int, name: str = "normal") -> Any:
    return np.asarray(Stream(0).split(name).normal(size=shape))


def inputs(*sizes: int, spread: float = 0.0) -> Any:
    """q, k and v for B, H, G, T, S and D; with a spread, values of very different sizes."""
    batch, heads, groups, time, keys, width = sizes
    q, k, v = (
        normal(batch, heads, time, width, name="q"),
        normal(batch, groups, keys, width, name="k"),
        normal(batch, groups, keys, width, name="v"),
    )
    sizes = np.exp(spread * normal(batch, groups, keys, 1, name="sizes").astype(np.float64))
    return [q, k, (v * sizes).astype(np.float32)]


call: Any = attention


def naive(q: Any, k: Any, v: Any, *, causal: bool = True) -> Any:
    """The formula in float64, with the whole matrix."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // k.shape[1], axis=1) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    time, keys = scores.shape[-2:]
    if causal:
        scores = np.where(np.arange(keys) > np.arange(time)[:, None] + keys - time, -np.inf, scores)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True) @ v


def exact(*arrays: Any, **options: Any) -> Any:
    return call(*map(Tensor, arrays), **options).numpy()


SHAPES = [(2, 4, 4, 37, 37, 16), (2, 4, 2, 33, 70, 8), (1, 3, 1, 1, 130, 64), (3, 1, 1, 5, 5, 3), (1, 2, 2, 300, 300, 24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("causal", [True, False])
def test_values_are_those_of_the_formula(shape: Any, causal: bool) -> None:
    arrays = inputs(*shape)
    right = naive(*arrays, causal=causal)
    # float32 rounds q and the result at 6e-8, and 53 bits are shared among all weights and values of a row
    np.testing.assert_allclose(exact(*arrays, causal=causal), right, rtol=0, atol=4e-7 * np.abs(right).max())
    with numerics("fast"):
        np.testing.assert_allclose(exact(*arrays, causal=causal), right, rtol=0, atol=3e-6 * np.abs(right).max())


def test_gradients_are_those_of_central_differences() -> None:
    for shape in ((1, 2, 2, 5, 5, 3), (2, 4, 2, 3, 6, 2), (1, 1, 1, 40, 40, 1)):
        gradient_check(attention, *inputs(*shape))
    gradient_check(lambda q, k, v: attention(q, k, v, causal=False), *inputs(1, 2, 1, 4, 6, 3))
    gradient_check(lambda q, k, v: attention(q, k, v, offset=np.array([1, 2])), *inputs(2, 2, 1, 3, 6, 3))
    gradient_check(lambda q, k, v: attention(q, k, v, dropout=0.4, stream=Stream(5)), *inputs(2, 4, 2, 4, 6, 3))


@pytest.mark.parametrize("shape", [(2, 4, 2, 70, 70, 16), (1, 2, 2, 33, 64, 8)])
def test_exact_gradients_are_the_float64_gradients_rounded(shape: Any) -> None:
    arrays, g = inputs(*shape), normal(*shape[:2], shape[3], shape[5], name="g")

    def run(dtype: Any) -> Any:
        tensors = [Tensor(x.astype(dtype), requires_grad=True) for x in arrays]
        return [x.numpy() for x in gradients(call(*tensors), tensors, Tensor(g.astype(dtype)))]

    found = run(np.float32)
    with numerics("fast"):
        right = run(np.float64)
    for mine, expected in zip(found, right, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=5e-7 * np.abs(expected).max())


@pytest.mark.parametrize("size", [2.0, 12.0, 20.0, 30.0])
@pytest.mark.parametrize("causal", [True, False])
def test_gradients_of_confident_rows_are_accurate(size: float, causal: bool) -> None:
    """Where one weight is near 1, the gradients of queries are as small as the other weights, and have as many right digits."""
    q, k, v = inputs(1, 2, 2, 8, 8, 16)
    q, g = (q / np.linalg.norm(q, axis=-1, keepdims=True) * size).astype(np.float32), normal(1, 2, 8, 16, name="g")
    k = (q / size * 4).astype(np.float32)  # the scores are size cos(angle)

    def run(dtype: Any) -> Any:
        tensors = [Tensor(x.astype(dtype), requires_grad=True) for x in (q, k, v)]
        return [x.numpy() for x in gradients(call(*tensors, causal=causal), tensors, Tensor(g.astype(dtype)))]

    found = run(np.float32)
    with numerics("fast"):
        right = run(np.float64)
    for mine, expected in zip(found[:1], right[:1], strict=True):
        errors = np.linalg.norm(mine - expected, axis=-1) / np.maximum(np.linalg.norm(expected, axis=-1), 1e-30)
        assert errors.max() < 3e-6  # the products of the gradient have grids of 26 bits; from the rounded result it was 4e-2


def test_a_query_with_one_key_has_the_gradient_zero() -> None:
    q, k, v = (Tensor(x, requires_grad=True) for x in inputs(2, 2, 2, 5, 5, 8))
    to_q, _, _ = gradients(call(q, k, v), [q, k, v], Tensor(normal(2, 2, 5, 8, name="g")))
    assert not to_q.numpy()[:, :, 0].any()
    assert to_q.numpy()[:, :, 1:].all()


# What a token sees


@pytest.mark.parametrize("shape", [(2, 4, 2, 100, 100, 8), (1, 2, 2, 70, 70, 16)])
def test_every_prefix_and_every_suffix_has_the_bits_of_the_whole(shape: Any) -> None:
    q, k, v = inputs(*shape, spread=4.0)
    whole = exact(q, k, v)
    for t in range(1, shape[3]):
        assert exact(q[:, :, :t], k[:, :, :t], v[:, :, :t]).tobytes() == whole[:, :, :t].tobytes()
    for t in (1, 31, 32, 33, 69):
        assert exact(q[:, :, t:], k, v).tobytes() == whole[:, :, t:].tobytes()
        assert exact(q[:, :, t : t + 2], k, v, offset=t).tobytes() == whole[:, :, t : t + 2].tobytes()


def test_later_values_of_any_size_cannot_change_a_bit() -> None:
    q, k, v = inputs(1, 2, 2, 50, 50, 8)
    whole = exact(q, k, v)
    k[:, :, 20:] *= np.float32(1e15)
    v[:, :, 20:] *= np.float32(1e30)
    assert exact(q, k, v)[:, :, :20].tobytes() == whole[:, :, :20].tobytes()


@given(st.integers(0, 2**32), st.integers(2, 40), st.sampled_from([0.0, 3.0, 12.0]))
@settings(max_examples=30)
def test_the_order_of_the_keys_cannot_change_a_bit(seed: int, keys: int, spread: float) -> None:
    q, k, v = inputs(1, 4, 2, 3, keys, 5, spread=spread)
    order = Stream(seed).permutation(keys)
    assert exact(q * 5, k[:, :, order], v[:, :, order], causal=False).tobytes() == exact(q * 5, k, v, causal=False).tobytes()


@pytest.mark.parametrize("causal", [True, False])
def test_every_product_of_the_gradient_is_exact_so_that_no_order_of_its_sum_matters(
    causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiply, compared = current().products.multiply, []

    def both_ways(a: Any, b: Any) -> Any:
        result = multiply(a, b)
        compared.append(result.tobytes() == multiply(a[..., ::-1], b[..., ::-1, :]).tobytes())
        return result

    monkeypatch.setitem(vars(current().products), "multiply", both_ways)
    stream = Stream(3)
    sizes = np.exp2(np.rint(stream.normal((2, 4, 40, 1)) * np.float32(3)))  # of the gradient of each query
    tensors = [Tensor(x, requires_grad=True) for x in inputs(2, 4, 2, 40, 50, 8, spread=2.0)]
    gradients(call(*tensors, causal=causal), tensors, Tensor(stream.normal((2, 4, 40, 8)) * sizes))
    assert len(compared) >= 5 and all(compared)


@pytest.mark.parametrize("block", [1, 1000, 2**30])
@pytest.mark.parametrize("offset", [None, [0, 10, 4]])
def test_a_block_of_any_size_gives_the_same_bits(block: int, offset: list[int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, g = inputs(3, 4, 2, 70, 80, 8), normal(3, 4, 70, 8, name="g")

    def run() -> bytes:
        tensors = [Tensor(x, requires_grad=True) for x in arrays]
        out = call(*tensors, offset=offset, dropout=0.2, stream=Stream(1))
        return b"".join(x.numpy().tobytes() for x in (out, *gradients(out, tensors, Tensor(g))))

    expected = run()
    monkeypatch.setattr(blocks, "CACHE_BYTES", block)
    assert run() == expected


def test_sequences_and_heads_do_not_influence_each_other() -> None:
    q, k, v = inputs(3, 4, 4, 20, 20, 8, spread=5.0)
    whole = exact(q, k, v)
    for i in range(3):
        part = slice(i, i + 1)
        assert exact(q[part], k[part], v[part]).tobytes() == whole[part].tobytes()
        assert exact(q[:, part], k[:, part], v[:, part]).tobytes() == whole[:, part].tobytes()


def test_grouped_queries_have_the_bits_of_repeated_keys_and_values() -> None:
    q, k, v = inputs(2, 6, 2, 40, 40, 8, spread=3.0)
    assert exact(q, k, v).tobytes() == exact(q, np.repeat(k, 3, axis=1), np.repeat(v, 3, axis=1)).tobytes()


def layer(**options: Any) -> MultiHeadAttention:
    return MultiHeadAttention(24, 4, stream=Stream(2), rotary=Rotary(6), **options)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.sampled_from([1, 2, 4]))
@settings(max_examples=20)
def test_every_split_into_cached_pieces_has_the_bits_of_the_whole(pieces: list[int], groups: int) -> None:
    attend, length = layer(key_value_heads=groups), sum(pieces)
    x = normal(2, length, 24)
    with no_grad():
        whole, cache, start = attend(Tensor(x)).numpy(), attend.cache(2, length), 0
        for piece in pieces:
            found = attend(Tensor(x[:, start : start + piece]), cache).numpy()
            assert found.tobytes() == whole[:, start : start + piece].tobytes()
            start += piece
    assert cache.lengths.tolist() == [length, length]


def test_heads_may_be_larger_and_normalized_and_the_output_without_bias() -> None:
    attend = MultiHeadAttention(24, 4, head_channels=8, norm_eps=1e-6, output_bias=False, rotary=Rotary(8), stream=Stream(2))
    shapes = {name: p.shape for name, p in attend.named_parameters()}
    assert shapes["query.weight"] == (32, 24) and shapes["query.bias"] == (32,) and shapes["output.weight"] == (24, 32)
    assert shapes["query_norm.weight"] == shapes["key_norm.weight"] == (8,) and "output.bias" not in shapes
    x = Tensor(normal(2, 7, 24))
    for name in ("query", "key"):  # normalized heads do not depend on the size of the projection
        with no_grad():
            before = attend(x).numpy()
        with getattr(attend, name).weight.edit() as weight, getattr(attend, name).bias.edit() as bias:
            weight[...] *= 1024
            bias[...] *= 1024
        np.testing.assert_allclose(attend(x).numpy(), before, rtol=0, atol=1e-5)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(any), st.integers(1, 4))
@settings(max_examples=20)
def test_prompts_of_any_lengths_have_the_same_bits_alone_and_padded_in_a_batch(lengths: list[int], steps: int) -> None:
    attend, longest = layer(key_value_heads=2), max(lengths)
    x = normal(len(lengths), longest + steps, 24)
    with no_grad():
        cache = attend.cache(len(lengths), longest + steps)
        padded = np.where(np.arange(longest)[None, :, None] < np.array(lengths)[:, None, None], x[:, :longest], np.float32(7))
        first = attend(Tensor(padded), cache, np.array(lengths)).numpy()
        later = [
            attend(Tensor(np.stack([x[i, n + s] for i, n in enumerate(lengths)])[:, None]), cache).numpy() for s in range(steps)
        ]
        for i, n in enumerate(lengths):
            alone = attend(Tensor(x[i : i + 1, : n + steps])).numpy()[0]
            assert first[i, :n].tobytes() == alone[:n].tobytes()
            for s in range(steps):
                assert later[s][i, 0].tobytes() == alone[n + s].tobytes()


# Ends of the range


def test_extreme_scores_and_values() -> None:
    q, k, v = inputs(1, 2, 2, 9, 9, 4)
    for scale in (1e-30, 1e4, 1e15):
        found = exact(q * np.float32(scale), k * np.float32(scale), v)
        right = naive(q * np.float32(scale), k * np.float32(scale), v)
        np.testing.assert_allclose(found, right, rtol=0, atol=3e-5)  # q is rounded, and large scores with it
    for scale in (1e-45, 1e-30, 3e37):
        small = (v * np.float64(scale)).astype(np.float32)
        right = naive(q, k, small)
        np.testing.assert_allclose(exact(q, k, small), right, rtol=1e-6, atol=1e-6 * np.abs(right).max() + 2e-45)
    assert not exact(q, k, v * 0).any()


def test_many_keys_are_summed_without_error() -> None:
    q, k, v = inputs(1, 1, 1, 1, 20000, 2)
    right = naive(q * 0, k, v)
    np.testing.assert_allclose(exact(q * 0, k, v), right, rtol=0, atol=1e-8)


def test_no_array_of_size_time_by_time_is_allocated() -> None:
    tensors = [Tensor(x, requires_grad=True) for x in inputs(1, 12, 12, 768, 768, 2)]
    tracemalloc.start()
    try:
        out = call(*tensors)
        forward = tracemalloc.get_traced_memory()[1]
        out.backward(np.ones(out.shape, np.float32))
        both = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert forward < 12 * 2**20  # all scores in float32 would be 27 MiB
    assert both < 16 * 2**20


def test_large_scores_do_not_overflow_in_fast_arithmetic() -> None:
    q, k, v = inputs(1, 2, 2, 9, 9, 4)
    with numerics("fast"):
        for scale in (1, 30, -30, 1e4):
            found, right = exact(q * np.float32(scale), k, v), naive(q * np.float32(scale), k, v)
            np.testing.assert_allclose(found, right, rtol=0, atol=3e-7 * max(10, abs(scale)))  # scores are rounded


def test_empty_arrays() -> None:
    assert exact(*inputs(0, 2, 2, 3, 3, 4)).shape == (0, 2, 3, 4)
    assert exact(*inputs(2, 2, 2, 0, 3, 4)).shape == (2, 2, 0, 4)
    tensors = [Tensor(x, requires_grad=True) for x in inputs(2, 2, 2, 0, 3, 4)]
    call(*tensors).sum().backward()
    assert tensors[1].grad is not None and not tensors[1].grad.numpy().any()


# Dropout, errors


def test_dropout_drops_weights_and_keeps_their_mean() -> None:
    q, k, v = inputs(1, 4, 4, 200, 200, 8)
    ones = np.ones_like(v)
    found = exact(q * 0, k, ones, causal=False, dropout=0.25, stream=Stream(3))
    assert 0.95 < found.mean() < 1.05 and found.std() > 0.01
    again = exact(q * 0, k, ones, causal=False, dropout=0.25, stream=Stream(3))
    assert again.tobytes() == found.tobytes()
    for p in (np.arange(1, 9) / 10).astype(np.float32):
        given = [exact(q, k, v, dropout=one, stream=Stream(3)).tobytes() for one in (p, float(p))]
        assert given[0] == given[1]
    attend = layer(dropout=0.5)
    x = Tensor(normal(1, 5, 24))
    assert attend.eval()(x).numpy().tobytes() == layer()(x).numpy().tobytes()
    with pytest.raises(ValueError, match="attention: stream must be a Stream with dropout, got None"):
        attend.train()(x)


def test_errors_name_the_argument() -> None:
    q, k, v = inputs(2, 4, 2, 3, 3, 8)
    for arrays in ((q[:, :3], k, v), (q, k, v[..., :4]), (q[..., :4], k, v), (q[0], k, v), (q[:1], k, v)):
        with pytest.raises(ValueError, match="attention: q, k and v must have shapes"):
            exact(*arrays)
    with pytest.raises(ValueError, match=r"attention: offset must be from 0 to 1, with 2 keys, got \[-1, -1\]"):
        exact(q, k[:, :, :2], v[:, :, :2])
    for offset in (1.5, [0.0, 1.0], True):
        with pytest.raises(TypeError, match="attention: offset must be integers, got"):
            exact(q, k, v, offset=offset)
    with pytest.raises(ValueError, match=r"attention: offset must be an int, or one for each of 2 sequences, got shape \(3,\)"):
        exact(q, k, v, offset=[0, 1, 2])
    for arrays in ((q, k[:, :0], v[:, :0]), (q[:, :0], k[:, :0], v[:, :0]), (q[..., :0], k[..., :0], v[..., :0])):
        with pytest.raises(ValueError, match="attention: q, k and v must have shapes"):
            exact(*arrays)
    with pytest.raises(ValueError, match="attention: k must have at least one key for 3 queries, got none"):
        exact(q, k[:, :, :0], v[:, :, :0])
    with pytest.raises(ValueError, match="attention: dropout must be at least 0 and below 1, got 1"):
        exact(q, k, v, dropout=1, stream=Stream(0))
    with pytest.raises(TypeError, match="k must be float32 as q is, got int64"):
        exact(q, k.astype(np.int64), v)
    for name, position in (("q", (1, 3, 2, 7)), ("k", (0, 1, 2, 0)), ("v", (1, 0, 1, 5))):
        bad = {"q": q.copy(), "k": k.copy(), "v": v.copy()}
        bad[name][position] = np.inf
        with pytest.raises(
            FloatingPointError, match=rf"attention: {name}\[{', '.join(map(str, position))}\] must be finite, got inf"
        ):
            exact(*bad.values())
    with pytest.raises(FloatingPointError, match=r"the gradient of attention: gradient\[0, 0, 0, 0\] must be finite, got nan"):
        attention(Tensor(q, requires_grad=True), Tensor(k), Tensor(v)).backward(np.full(q.shape, np.nan, np.float32))
    with pytest.raises(ValueError, match="channels must be a multiple of heads, got channels=24 and heads=5"):
        MultiHeadAttention(24, 5, stream=Stream(0))
    with pytest.raises(ValueError, match="rotary must have 6 channels, those of a head, got 4"):
        MultiHeadAttention(24, 4, rotary=Rotary(4), stream=Stream(0))
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 24\), got \(2, 24\)"):
        layer()(Tensor(normal(2, 24)))
    with pytest.raises(ValueError, match="counts must be None without a cache"):
        layer()(Tensor(normal(2, 3, 24)), counts=[1, 2])


@pytest.mark.parametrize("mode", ["exact", "int16"])
def test_rows_of_a_cache_share_its_memory_and_parts_can_be_copied(mode: Any) -> None:
    attend, x = layer(), normal(3, 40, 24)
    with numerics(mode), no_grad():
        whole = attend.cache(3, 48)
        expected = attend(Tensor(x), whole).numpy()
        large, other = attend.cache(9, 48), attend.cache(2, 64)
        for start in range(3):  # as of three layers, each with three sequences
            rows = large.rows(slice(3 * start, 3 * start + 3))
            assert attend(Tensor(x), rows).numpy().tobytes() == expected.tobytes() and rows.lengths.tolist() == [40] * 3
        assert large.lengths.tolist() == [0] * 9
        for part in ((0, 32), (32, 48)):
            pairs = zip(other.part(*part), large.rows(slice(1, None, 3)).rows(slice(1, 3)).part(*part), strict=True)
            for to, given in pairs:
                to[...] = given
        other.lengths = np.array([40, 33])
        found = attend(Tensor(x[[1, 1], 33:34]), other).numpy()
        second = large.rows(slice(4, 5))
        second.lengths = np.array([33])
        assert found[1].tobytes() == attend(Tensor(x[1:2, 33:34]), second).numpy().tobytes() == expected[1, 33:34].tobytes()


def test_a_full_cache_refuses_tokens_and_does_not_change() -> None:
    attend = layer()
    cache = attend.cache(2, 8)
    with no_grad():
        attend(Tensor(normal(2, 5, 24)), cache, [5, 3])
        assert attend(Tensor(normal(2, 0, 24)), cache).shape == (2, 0, 24)
        with pytest.raises(CacheOverrunError, match="capacity must be at least 9 for sequence 0, 5 tokens and 4 new ones, got 8"):
            attend(Tensor(normal(2, 4, 24)), cache)
        assert cache.lengths.tolist() == [5, 3]
        attend(Tensor(normal(2, 4, 24)), cache, [3, 4])
        with pytest.raises(ValueError, match=r"counts must be 2 ints from 0 to 4, got \[3, 5\]"):
            attend(Tensor(normal(2, 4, 24)), cache, [3, 5])
        with pytest.raises(ValueError, match=r"k and v must be float32 with shape \(2, 4, T, 6\), got"):
            cache.append(normal(1, 4, 4, 6), normal(1, 4, 4, 6))
    with no_grad(), pytest.raises(ValueError, match="counts must not be all 0 in an empty cache"):
        attend(Tensor(normal(2, 4, 24)), attend.cache(2, 8), [0, 0])
    with pytest.raises(GraphError, match="no_grad"):
        attend(Tensor(normal(2, 1, 24)), attend.cache(2, 8))
    with (
        numerics("fast"),
        no_grad(),
        pytest.raises(RuntimeError, match="the active arithmetic must be exact, as when it was created, got fast"),
    ):
        attend(Tensor(normal(2, 1, 24)), cache)
    with pytest.raises(ValueError, match="KeyValueCache: heads must be at least 1, got 0"):
        KeyValueCache(1, 0, 8, 4)


@pytest.mark.parametrize("mode", ["exact", "int16", "fast"])
def test_copies_of_a_sequence_go_on_as_the_sequence_does(mode: Any) -> None:
    with numerics(mode), no_grad():
        attend = MultiHeadAttention(24, 4, stream=Stream(2), rotary=Rotary(6), key_value_heads=2)
        one, some = attend.cache(1, 8), attend.cache(2, 8)
        x = normal(2, 5, 24)
        attend(Tensor(x[:1]), one)
        attend(Tensor(x), some)
        one.take([0, 0, 0])
        some.take([0, 0])
        new = normal(3, 2, 24)
        first, second = attend(Tensor(new), one).data, attend(Tensor(new[:2]), some).data
    assert one.lengths.tolist() == [7, 7, 7] and some.lengths.tolist() == [7, 7]
    assert np.abs(first[:2] - second).max() <= (1e-6 if mode == "fast" else 0)


def test_a_cache_in_fast_arithmetic_is_near_the_whole() -> None:
    x = normal(2, 9, 24)
    with numerics("fast"), no_grad():
        attend = layer(key_value_heads=2)
        cache, whole = attend.cache(2, 9), attend(Tensor(x)).numpy()
        found = np.concatenate([attend(Tensor(x[:, i : i + 3]), cache).numpy() for i in (0, 3, 6)], axis=1)
    np.testing.assert_allclose(found, whole, rtol=0, atol=2e-6)
