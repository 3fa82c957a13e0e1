"""The graph and the backward pass: among others, what users reported broken in other libraries."""

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from samebits.autograd import AnomalyError, GraphError, Tensor, detect_anomaly, exp, gradients, kernel, no_grad, operation, ops
from samebits.autograd.graph import tracing
from samebits.core import current, numerics

pytestmark = pytest.mark.once


def leaf(value: Any) -> Tensor:
    return Tensor(value, requires_grad=True)


def grad_of(x: Tensor) -> Any:
    assert x.grad is not None
    return x.grad.tolist()


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_tensor_used_twice_gets_the_sum() -> None:
    uses: list[tuple[Any, float]] = [
        (lambda x: x + x, 2.0),
        (lambda x: x * x, 6.0),
        (lambda x: x - x, 0.0),
        (lambda x: x / x, 0.0),
        (lambda x: (y := x * x) * y + y, 114.0),
    ]
    for function, expected in uses:
        x = leaf(3.0)
        function(x).backward()
        assert grad_of(x) == expected


def test_a_tied_weight_gets_the_gradients_of_both_uses() -> None:
    weight = leaf([[1.0, 2.0], [3.0, 4.0]])
    hidden = weight[np.array([1])]
    (hidden @ weight.T).sum().backward()
    assert grad_of(weight) == [[3.0, 4.0], [7.0, 10.0]]


def test_a_chain_longer_than_the_recursion_limit_is_differentiated_and_freed() -> None:
    depth = 100_000
    assert depth > 10 * sys.getrecursionlimit()
    x = leaf(1.0)
    y = x
    for _ in range(depth):
        y = y + x
    y.backward()
    assert grad_of(x) == depth + 1
    z = x
    for _ in range(depth):
        z = -z
    del z  # a graph that no pass has freed


def test_a_diamond_of_many_levels_visits_each_node_once() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100):  # 2^100 paths
        y = y * 0.5 + y * 0.5
    y.backward()
    assert grad_of(x) == 1.0


def test_gradients_add_up_over_passes_until_grad_is_none() -> None:
    x = leaf(2.0)
    for _ in range(2):
        (x * x).backward()
    assert grad_of(x) == 8.0
    x.grad = None
    (x * x).backward()
    assert grad_of(x) == 4.0


def test_a_second_pass_over_a_freed_graph_is_refused_and_changes_nothing() -> None:
    x = leaf(2.0)
    trunk = x * x
    loss, other = trunk * 3, trunk + x
    loss.backward()
    for output in (loss, other):
        with pytest.raises(
            GraphError, match=r"multiply: its saved arrays were freed by an earlier backward pass; .*retain_graph=True"
        ):
            output.backward()
    assert grad_of(x) == 12.0


def test_a_retained_graph_can_be_passed_again() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert grad_of(x) == 8.0


def test_backward_requires_a_gradient_and_a_scalar() -> None:
    with pytest.raises(GraphError, match="requires no gradient"):
        Tensor(1.0).backward()
    with no_grad(), pytest.raises(GraphError, match="requires no gradient"):
        (leaf(1.0) * 2).backward()
    with pytest.raises(ValueError, match=r"backward\(\) needs a scalar, got shape \(2,\); pass gradient= or reduce first"):
        (leaf([1.0, 2.0]) * 2).backward()
    with pytest.raises(ValueError, match=r"gradient must be float32 of shape \(2,\), got float32 of shape \(3,\)"):
        (leaf([1.0, 2.0]) * 2).backward([1.0, 2.0, 3.0])
    with pytest.raises(GraphError, match=r"inputs\[0\] must require a gradient"):
        gradients(leaf(1.0) * 1, [Tensor(1.0)])


def test_a_gradient_can_be_given() -> None:
    x = leaf([1.0, 2.0])
    (x * x).backward(Tensor([1.0, 10.0]))
    assert grad_of(x) == [2.0, 40.0]


def test_broadcasting_a_row_sums_its_gradient() -> None:
    a, b = leaf(np.zeros((2, 3), np.float32)), leaf(np.zeros(3, np.float32))
    (a + b).backward(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert grad_of(a) == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert grad_of(b) == [3.0, 5.0, 7.0]


def test_gradients_of_two_leaves_never_share_memory() -> None:
    a, b, seed = leaf([1.0, 2.0]), leaf([1.0, 2.0]), Tensor([1.0, 1.0])
    (a + b).backward(seed)
    assert a.grad is not None
    assert b.grad is not None
    with a.grad.edit() as array:
        array[:] = 5
    assert (grad_of(b), seed.tolist()) == ([1.0, 1.0], [1.0, 1.0])


def test_returned_gradients_never_share_memory() -> None:
    a, b = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    for create_graph in (False, True):
        first, second = gradients(a + b, [a, b], [1.0, 1.0], create_graph=create_graph)
        first[0] = 5.0
        assert second.tolist() == [1.0, 1.0]
    (spread,) = gradients(a.sum(), [a])
    spread[0] = 5.0
    assert spread.tolist() == [5.0, 1.0]


def test_a_gradient_of_another_shape_is_refused() -> None:
    @operation(lambda g: g[0])
    def wrong(x: Any) -> Any:
        return x * x

    with pytest.raises(GraphError, match=r"leaf: its gradient must have shape \(2,\), got \(\); the rule"):
        wrong(leaf([1.0, 2.0])).backward([1.0, 1.0])


def test_a_gradient_of_another_dtype_is_refused() -> None:
    @operation(lambda g: g.astype(np.float64))
    def wide(x: Any) -> Any:
        return x * x

    with pytest.raises(GraphError, match="leaf: its gradient must be float32, got float64; a rule mixed dtypes"):
        wide(leaf([1.0, 2.0])).backward([1.0, 1.0])


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2)])
def test_arrays_without_elements_have_gradients_without_elements(shape: tuple[int, ...]) -> None:
    x = leaf(np.zeros(shape, np.float32))
    ((x * x + x).exp().sum() + ops.concatenate([x, x]).sum() + (x.T @ x).sum()).backward()
    assert x.grad is not None
    assert x.grad.shape == shape


def test_tensors_without_axes_work_and_keep_their_dtype() -> None:
    x = leaf(2.0)
    y = ((x * 3 + 1 / x - 2).exp().log().tanh() + x.sum() + x.max() + x.reshape(1)[0]) ** 3
    y.backward()
    assert x.grad is not None
    assert [y.shape, y.dtype.name, x.grad.shape, x.grad.dtype.name] == [(), "float32", (), "float32"]


def test_tensors_without_axes_are_broadcast_and_indexed_with_other_uses() -> None:
    x = leaf(3.0)
    (x[None] * x.expand(2) + x.transpose() + x.squeeze() + x[()]).sum().backward()
    assert grad_of(x) == 18.0


def test_generators_closed_in_any_order_leave_recording_on() -> None:
    def generator(block: Any) -> Iterator[None]:
        with block:
            yield

    for block in (no_grad, detect_anomaly):
        first, second = generator(block()), generator(block())
        next(first)
        next(second)
        first.close()
        second.close()
    assert (Tensor([1.0], requires_grad=True) * 2).requires_grad
    assert not tracing.get()


def test_no_grad_and_detach_cut_the_graph() -> None:
    x = leaf(3.0)
    y = x * x.detach()
    with no_grad():
        factor = x * 10
    (y * factor).backward()
    assert grad_of(x) == 90.0

    @no_grad()
    def twice(t: Tensor) -> Tensor:
        return t * 2

    assert not twice(x).requires_grad
    assert (x * 2).requires_grad


def test_a_modified_array_is_detected_through_views_and_detached_tensors() -> None:
    x = leaf([1.0, 2.0])
    y = x.reshape(2, 1)
    z = (y * y).sum()
    with x.edit() as array:
        array[0] = 5
    with pytest.raises(GraphError, match=r"multiply: an array of shape \(2, 1\) that its gradient needs was modified in place"):
        z.backward()
    w = exp(x)
    w.detach()[0] = 0.0
    with pytest.raises(GraphError, match="exp: an array"):
        w.backward([1.0, 1.0])


def test_arrays_that_no_rule_needs_can_be_modified() -> None:
    x, bias = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    with no_grad():
        bias[0] = 7.0
    y = (x * x + bias).sum()
    with no_grad():
        bias[1] = 7.0
    y.backward()
    assert grad_of(x) == [2.0, 4.0]
    with pytest.raises(GraphError, match="the graph does not see assignments"):
        Tensor([1.0, 2.0])[0] = x[0]
    with pytest.raises(GraphError, match="computed by add and cannot be edited"), (x + 1).edit():
        pass


def test_assigning_to_a_leaf_that_requires_a_gradient_is_refused_outside_of_no_grad() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"x\[index\] = value .*inside `with no_grad\(\):` or `x\.edit\(\)`"):
        x[0] = 9.0
    with pytest.raises(GraphError, match="requires a gradient"):
        (x * 2)[0] = 9.0
    assert x.tolist() == [1.0, 2.0]
    with no_grad():
        x[0] = 9.0
        x[1] = x[0]
    assert (x.tolist(), x.requires_grad) == ([9.0, 9.0], True)
    plain = Tensor([1.0, 2.0])
    plain[0] = 9.0
    assert plain.tolist() == [9.0, 2.0]


def test_arrays_returned_by_numpy_are_read_only_and_arrays_passed_in_are_copied() -> None:
    array = np.ones(2, np.float32)
    x = leaf(array)
    y = (x * x).sum()
    array[0] = 5
    with x.edit() as window:
        pass
    for view in (x.numpy(), np.asarray(x.detach()), window):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5
    assert x.tolist() == [1.0, 1.0]
    with pytest.raises(GraphError, match="modified"):
        y.backward()  # edit() was entered: that counts


def test_rebinding_data_does_not_change_the_graph() -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    x.data = np.array([7.0, 7.0], np.float32)
    y.backward()
    assert grad_of(x) == [2.0, 4.0]


def test_graphs_are_freed_immediately_without_the_garbage_collector() -> None:
    with no_collector():
        x = leaf(np.ones((4, 4), np.float32))
        y = (x @ x).exp().softmax().sum()
        middle = x * 2
        nodes = [weakref.ref(middle.data)]
        y.backward()
        del y, middle
        assert nodes[0]() is None
        first = gradients((x * x * x).sum(), [x], create_graph=True)[0]
        gradients(first.sum(), [x])
        del first
        x.grad = None
        assert gc.collect() == 0


def test_memory_is_constant_over_steps_without_the_garbage_collector() -> None:
    weight = leaf(np.full((50, 50), 0.01, np.float32))

    def step() -> None:
        weight.grad = None
        h = weight
        for _ in range(10):
            h = (h @ weight).tanh()
        (h * h).mean().backward()

    with no_collector():
        step()
        tracemalloc.start()
        try:
            step()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(5):
                step()
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert after - before < 9_000  # one of the arrays has 10,000 bytes; Python keeps freed tuples for reuse, 48 bytes each


def test_saved_arrays_are_freed_during_the_pass() -> None:
    size = 40_000
    x = leaf(np.linspace(0.1, 0.2, size).astype(np.float32))
    tracemalloc.start()
    try:
        y = x
        for _ in range(20):
            y = y.sqrt() * 1.01
        forward = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - forward < 6 * 4 * size  # not 20 gradients beside 20 saved arrays


def test_a_nan_is_traced_to_the_operation_that_made_it() -> None:
    x = leaf([1.0, 0.0])
    with detect_anomaly(), np.errstate(all="ignore"):
        y = (x.sqrt() * 0.0).sum()  # the slope of sqrt at 0 is infinite
        with pytest.raises(AnomalyError, match=r"sqrt: its rule made NaN in the gradient of argument 0, at \(1,\)") as caught:
            y.backward()
    assert "y = (x.sqrt() * 0.0).sum()" in str(caught.value)


def test_an_error_in_a_rule_names_the_operation() -> None:
    x = leaf([[1.0, 2.0]])
    y = x @ Tensor([[1.0], [1.0]])
    with pytest.raises(FloatingPointError) as caught:
        y.backward([[float("inf")]])
    assert caught.value.__notes__ == ["in the backward pass of matmul_weight"]


def test_kernels_have_first_gradients_only() -> None:
    @kernel(lambda g, x: (g * (x + x), None))
    def squared(x: Any, _: Any) -> Any:
        return x * x, (x,)

    x = leaf([1.0, 2.0])
    (g,) = gradients(squared(x, Tensor(1.0)).sum(), [x])
    assert g.tolist() == [2.0, 4.0]
    with pytest.raises(GraphError, match="squared has no second gradients"):
        gradients(squared(x, None).sum(), [x], create_graph=True)


def test_contributions_are_added_in_the_reverse_order_of_the_program() -> None:
    x, e = leaf(1.0), 2.0**-24
    (x * 1.0 + x * e + x * e).backward()
    assert grad_of(x) == 1 + 2 * e  # (1 + e) + e is 1 in float32


def test_threads_record_their_own_graphs_and_start_recording_in_exact_arithmetic() -> None:
    barrier = Barrier(4)

    def work(k: int) -> Any:
        barrier.wait()
        begun = (leaf(1.0) * 1).requires_grad, current().name
        x = leaf(float(k))
        with no_grad() if k % 2 else nullcontext(), numerics("fast" if k > 2 else "exact"):
            barrier.wait()
            y = x
            for _ in range(50):
                y = y * x
            inside = y.requires_grad, current().name
            barrier.wait()
        z = x * x * float(k)
        z.backward()
        return begun, inside, grad_of(x)

    with no_grad(), numerics("fast"), ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(1, 5)))
    for k, (begun, inside, gradient) in enumerate(results, 1):
        assert begun == (True, "exact")
        assert inside == (k % 2 == 0, "fast" if k > 2 else "exact")
        assert gradient == 2.0 * k * k


def test_a_gradient_of_another_shape_is_refused_at_the_next_node() -> None:
    @operation(lambda g: g[0])
    def wrong(x: Any) -> Any:
        return x * x

    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"multiply: its gradient must have shape \(2,\), got \(\); the rule"):
        wrong(x * x).backward([1.0, 1.0])


def test_a_joint_rule_must_return_a_tuple() -> None:
    @kernel(lambda g, x: g * x)
    def wrong(x: Any) -> Any:
        return x * x, (x,)

    with pytest.raises(TypeError, match="wrong: its rule must return a tuple, a gradient for each argument, got ndarray"):
        wrong(leaf([1.0, 2.0])).backward([1.0, 1.0])


def test_an_edit_of_a_tensor_of_indices_is_detected() -> None:
    x, ids = leaf([[1.0, 2.0], [3.0, 4.0]]), Tensor([0, 1])
    results = [x[ids].sum(), x[:, ids].sum()]
    ids[0] = 1
    for y in results:
        with pytest.raises(GraphError, match=r"getitem: an array of shape .* that its gradient needs was modified in place"):
            y.backward()


def test_tracing_and_recording_are_independent() -> None:
    x = leaf(0.0)
    with no_grad(), detect_anomaly():
        assert not (x * 2).requires_grad
    with detect_anomaly(), np.errstate(all="ignore"):
        with no_grad():
            assert not (x * 2).requires_grad
        y = x.sqrt() * 0.0
        with no_grad(), pytest.raises(AnomalyError, match="sqrt: its rule made NaN"):
            y.backward()


def test_the_gradient_of_a_leaf_is_ready_as_soon_as_all_that_uses_it_was_visited() -> None:
    events: list[str] = []

    @operation(lambda g: events.append("doubled") or g * 2)  # type: ignore[func-returns-value]
    def doubled(x: Any) -> Any:
        return x * 2

    first, last, twice, unused = (leaf([float(i)]) for i in range(1, 5))
    names = {one.node: name for name, one in {"first": first, "last": last, "twice": twice}.items()}

    def loss() -> Tensor:
        return (doubled(first * twice) * last + twice + first[0:1] * unused.detach()).sum()

    loss().backward(ready=lambda node: events.append(names[node]))
    assert events[:2] == ["last", "doubled"] and sorted(events[2:]) == ["first", "twice"]
    found = [grad_of(one) for one in (first, last, twice)]
    for one in (first, last, twice):
        one.grad = None
    loss().backward()
    assert found == [grad_of(one) for one in (first, last, twice)] and unused.grad is None
    first.backward(ready=lambda node: events.append(names[node]))
    assert events[-1] == "first"
