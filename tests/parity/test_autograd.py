"""Values and gradients beside those of PyTorch and HIPS autograd, for every operation and for a block of a transformer.

Run by `nox -s parity`, which installs both. In float64 both sides round at 1e-16 of each term, and the sums here have
less than a hundred terms: 1e-12 allows that and nothing else. In exact arithmetic our float32 is compared with
PyTorch's float64: some dozen roundings of 6e-8 each, and cancellation, so 1e-5.
"""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from autograd import make_vjp
from autograd import numpy as anp
from autograd.extend import defvjp, primitive
from tests.autograd.cases import cases

from samebits.autograd import Tensor, gradients, jacobian, jvp
from samebits.core import numerics


def tensor(x: Any) -> Any:
    return x if isinstance(x, torch.Tensor) else torch.tensor(x)


def torch_axes(x: Any, axis: Any) -> Any:
    return tuple(range(x.ndim)) if axis is None else axis


TORCH = SimpleNamespace(
    **{
        name: getattr(torch, name)
        for name in ["exp", "exp2", "log", "tanh", "sigmoid", "sqrt", "sin", "cos", "abs", "relu", "matmul", "permute", "reshape"]
    },
    **{name: getattr(torch, name) for name in ["erf", "remainder", "clone", "flatten", "unsqueeze", "einsum"]},
    maximum=lambda a, b: torch.maximum(a, tensor(b)),
    minimum=lambda a, b: torch.minimum(a, tensor(b)),
    where=lambda c, a, b: torch.where(tensor(c), a, b),
    sum=lambda x, axis=None, keepdims=False: torch.sum(x, torch_axes(x, axis), keepdim=keepdims),
    mean=lambda x, axis=None, keepdims=False: torch.mean(x, torch_axes(x, axis), keepdim=keepdims),
    var=lambda x, axis=None, ddof=0, keepdims=False: torch.var(x, torch_axes(x, axis), correction=ddof, keepdim=keepdims),
    std=lambda x, axis=None, ddof=0, keepdims=False: torch.std(x, torch_axes(x, axis), correction=ddof, keepdim=keepdims),
    cumsum=lambda x, axis=None: torch.cumsum(x.reshape(-1) if axis is None else x, axis or 0),
    clip=torch.clamp,
    max=lambda x, axis=None, keepdims=False: torch.amax(x, torch_axes(x, axis), keepdim=keepdims),
    min=lambda x, axis=None, keepdims=False: torch.amin(x, torch_axes(x, axis), keepdim=keepdims),
    logsumexp=lambda x, axis=None, keepdims=False: torch.logsumexp(x, torch_axes(x, axis), keepdim=keepdims),
    softmax=lambda x, axis=-1: torch.softmax(x, axis),
    log_softmax=lambda x, axis=-1: torch.log_softmax(x, axis),
    transpose=lambda x: torch.permute(x, tuple(range(x.ndim))[::-1]),
    swapaxes=torch.swapaxes,
    expand=lambda x, shape: x.expand(shape),
    squeeze=torch.squeeze,
    concatenate=torch.cat,
    stack=torch.stack,
    split=torch.tensor_split,
    take=lambda x, ids, axis=None: (x.reshape(-1) if axis is None else x)[(slice(None),) * (axis or 0) + (tensor(ids),)],
)


def hips_logsumexp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return anp.log(anp.sum(anp.exp(x), axis=axis, keepdims=keepdims))


@primitive
def hips_erf(x: Any) -> Any:
    return np.array([math.erf(value) for value in np.ravel(x)]).reshape(np.shape(x))


defvjp(hips_erf, lambda _, x: lambda g: g * 2 / math.sqrt(math.pi) * anp.exp(-x * x))


def hips_softmax(x: Any, axis: int = -1) -> Any:
    return anp.exp(x) / anp.sum(anp.exp(x), axis=axis, keepdims=True)


HIPS = SimpleNamespace(
    **{
        name: getattr(anp, name)
        for name in ["exp", "log", "tanh", "sqrt", "sin", "cos", "abs", "matmul", "reshape", "maximum", "minimum", "where"]
    },
    **{
        name: getattr(anp, name)
        for name in ["sum", "mean", "var", "max", "min", "transpose", "swapaxes", "squeeze", "concatenate", "stack", "split"]
    },
    sigmoid=lambda x: 1 / (1 + anp.exp(-x)),
    erf=hips_erf,
    exp2=anp.exp2,
    remainder=anp.remainder,
    std=anp.std,
    cumsum=anp.cumsum,
    einsum=anp.einsum,
    clip=lambda x, low=-np.inf, high=np.inf: anp.clip(x, low, high),
    clone=lambda x: x * 1.0,
    flatten=lambda x, start: anp.reshape(x, (*x.shape[:start], -1)),
    unsqueeze=anp.expand_dims,
    relu=lambda x: anp.maximum(x, 0.0),
    permute=anp.transpose,
    logsumexp=hips_logsumexp,
    softmax=hips_softmax,
    log_softmax=lambda x, axis=-1: anp.log(hips_softmax(x, axis)),
    expand=lambda x, shape: x * anp.ones(shape),
    take=lambda x, ids, axis=None: (anp.reshape(x, (-1,)) if axis is None else x)[(slice(None),) * (axis or 0) + (ids,)],
)

OURS, THEIRS, HIPS_CASES = cases(), cases(TORCH), cases(HIPS)
NOT_IN_TORCH = {"index by slices"}  # it has no negative steps
NOT_IN_HIPS = {"einsum of a diagonal"}  # its gradient of a diagonal is refused by NumPy's einsum


def weights(shape: tuple[int, ...]) -> Any:
    return np.cos(np.arange(int(np.prod(shape)), dtype=np.float64)).reshape(shape)


def ours(name: str, inputs: list[Any], dtype: type, *, second: bool = False) -> list[Any]:
    """The value, the gradients, and with ``second`` the gradients of the sum of their squares."""
    tensors = [Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    output = OURS[name].function(*tensors)
    first = gradients(output, tensors, Tensor(weights(output.shape).astype(dtype)), create_graph=second)
    results = [output, *first]
    if second and any(g.requires_grad for g in first):
        total = Tensor(np.zeros((), dtype))
        for g in first:
            total = total + (g * g).sum()
        results += gradients(total, tensors)
    return [np.asarray(x.data) for x in results]


def pytorch(name: str, inputs: list[Any], *, second: bool = False) -> list[Any]:
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    output = THEIRS[name].function(*tensors)
    first = torch.autograd.grad(output, tensors, torch.tensor(weights(tuple(output.shape))), create_graph=second)
    results = [output, *first]
    if second and any(g.requires_grad for g in first):
        total = sum((g * g).sum() for g in first)
        results += torch.autograd.grad(total, tensors, allow_unused=True, materialize_grads=True)
    return [x.detach().numpy() for x in results]


def assert_close(mine: list[Any], theirs: list[Any], tolerance: float) -> None:
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max(initial=0.0))))


@pytest.mark.parametrize("name", [name for name in OURS if name not in NOT_IN_TORCH])
def test_values_first_and_second_gradients_are_those_of_pytorch(name: str) -> None:
    inputs: list[Any] = list(OURS[name].inputs(2))
    with numerics("fast"):
        assert_close(ours(name, inputs, np.float64, second=True), pytorch(name, inputs, second=True), 1e-12)


@pytest.mark.parametrize("name", [name for name in OURS if name not in NOT_IN_TORCH])
def test_exact_arithmetic_is_near_pytorch_in_float64(name: str) -> None:
    inputs: list[Any] = [x.astype(np.float32).astype(np.float64) for x in OURS[name].inputs(3)]
    assert_close(ours(name, inputs, np.float32), pytorch(name, inputs), 1e-5)


@pytest.mark.parametrize("name", ["power of tensors", "softmax", "std of axis 0", "einsum of three", "cumsum of axis 1"])
def test_jacobians_and_jvps_are_those_of_pytorch(name: str) -> None:
    inputs: list[Any] = list(OURS[name].inputs(5))
    places = tuple(range(len(inputs)))
    tangents = [np.cos(x) for x in inputs]
    theirs = [torch.tensor(x) for x in inputs]
    function = THEIRS[name].function
    with numerics("fast"):
        mine = [x.numpy() for x in jacobian(OURS[name].function, places)(*inputs)]
        assert_close(mine, [x.numpy() for x in torch.autograd.functional.jacobian(function, tuple(theirs))], 1e-12)
        mine = [x.numpy() for x in jvp(OURS[name].function, inputs, tangents)]
        found = torch.autograd.functional.jvp(function, tuple(theirs), tuple(torch.tensor(t) for t in tangents))
        assert_close(mine, [x.numpy() for x in found], 1e-12)


@pytest.mark.parametrize("name", [name for name in OURS if name not in NOT_IN_HIPS])
def test_values_and_gradients_are_those_of_hips_autograd(name: str) -> None:
    inputs: list[Any] = list(OURS[name].inputs(4))
    pull, value = make_vjp(lambda arguments: HIPS_CASES[name].function(*arguments))(tuple(inputs))
    theirs = [np.asarray(value), *map(np.asarray, pull(weights(np.shape(value))))]
    with numerics("fast"):
        assert_close(ours(name, inputs, np.float64), theirs, 1e-12)
