"""Linear layers, attention, positions and both blocks of samebits.nn beside PyTorch: values and all gradients, in exact arithmetic.

PyTorch computes in float64 from our float32 parameters, so the difference is our rounding: the tolerance is 2e-6 of the largest
element. The blocks are written in PyTorch's functions, with the halves of the rotary encoding ordered as in Llama's code.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as f

from samebits.autograd import Tensor, gradients
from samebits.core import Stream, numerics
from samebits.nn.block import TransformerBlock
from samebits.nn.dense import Linear, linear
from samebits.nn.positions import Rotary
from samebits.nn.scaled_dot_product import attention
from samebits.nn.sequential import ReLU, Sequential

TOLERANCE = 2e-6


def normal(*shape, name="normal"):
    return np.asarray(Stream(11).split(name).normal(size=shape))


def wide(x):
    return torch.tensor(np.asarray(x.data if isinstance(x, Tensor) else x), dtype=torch.float64, requires_grad=True)


def assert_near(mine, theirs, names=None):
    assert len(mine) == len(theirs)
    for i, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        a, b = np.asarray(one.data), other.detach().numpy()
        assert a.shape == b.shape
        error = np.abs(a - b).max() / np.abs(b).max()
        assert error <= TOLERANCE, f"{names[i] if names else i}: {error:.2g}"


def compare(ours, theirs, arrays, names=None):
    """Values and gradients of all arrays, for one gradient of the value."""
    leaves, peers = [Tensor(x, requires_grad=True) for x in arrays], [wide(x) for x in arrays]
    mine, other = ours(*leaves), theirs(*peers)
    g = normal(*mine.shape, name="g")
    found, right = gradients(mine, leaves, Tensor(g)), torch.autograd.grad(other, peers, wide(g))
    assert_near([mine, *found], [other, *right], names)


@pytest.mark.parametrize("shape", [(64, 30), (3, 70, 30)])
def test_linear(shape):
    compare(linear, f.linear, [normal(*shape), normal(50, 30, name="w"), normal(50, name="b")])


def test_initial_standard_deviation_of_linear_is_pytorchs():
    ours, theirs = Linear(400, 300, stream=Stream(0)), nn.Linear(400, 300)
    for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        assert math.isclose(mine.numpy().std(), other.std().item(), rel_tol=0.1)  # of 300 numbers


@pytest.mark.parametrize(
    ("q", "k", "causal"),
    [
        ((3, 4, 70, 16), (3, 4, 70, 16), True),
        ((3, 4, 70, 16), (3, 2, 70, 16), True),
        ((1, 6, 256, 64), (1, 6, 256, 64), True),
        ((2, 4, 33, 8), (2, 1, 90, 8), False),
    ],
)
def test_attention(q, k, causal):
    arrays = [normal(*q, name="q"), normal(*k, name="k"), normal(*k, name="v")]
    compare(
        lambda q, k, v: attention(q, k, v, causal),
        lambda q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True),
        arrays,
    )


def test_multi_head_attention_is_pytorchs_module():
    block = TransformerBlock.gpt2(48, 6, stream=Stream(1))
    ours, theirs = block.attention, nn.MultiheadAttention(48, 6, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([wide(p.weight) for p in (ours.query, ours.key, ours.value)]))
        theirs.in_proj_bias.copy_(torch.cat([wide(p.bias) for p in (ours.query, ours.key, ours.value)]))
        theirs.out_proj.weight.copy_(wide(ours.output.weight))
        theirs.out_proj.bias.copy_(wide(ours.output.bias))
    x = normal(2, 40, 48)
    mask = nn.Transformer.generate_square_subsequent_mask(40, dtype=torch.float64)
    assert_near([ours(Tensor(x))], [theirs(*[wide(x)] * 3, attn_mask=mask, is_causal=True, need_weights=False)[0]])


def rotate_half(x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


def torch_rotary(x):
    frequencies = 1.0 / (10000.0 ** (torch.arange(0, x.shape[-1], 2, dtype=torch.float64) / x.shape[-1]))
    angles = torch.outer(torch.arange(x.shape[-2], dtype=torch.float64), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return x * angles.cos() + rotate_half(x) * angles.sin()


def test_rotary():
    compare(Rotary(16), torch_rotary, [normal(2, 3, 300, 16)])


def test_a_sequential_takes_the_state_of_pytorchs():
    theirs = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 5)).double()
    ours = Sequential(Linear(30, 40, stream=Stream(0)), ReLU(), Linear(40, 5, stream=Stream(0)))
    state = {name: tensor.numpy().astype(np.float32) for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(state)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    x = normal(8, 30)
    assert_near([ours(Tensor(x))], [theirs(wide(x))])


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def torch_gpt2(p, x):
    """PyTorch's functions on the parameters of a block by name."""
    h = f.layer_norm(x, x.shape[-1:], p["norm_1.weight"], p["norm_1.bias"])
    q, k, v = (heads(f.linear(h, p[f"attention.{n}.weight"], p[f"attention.{n}.bias"]), 6) for n in ("query", "key", "value"))
    h = f.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
    x = x + f.linear(h, p["attention.output.weight"], p["attention.output.bias"])
    h = f.layer_norm(x, x.shape[-1:], p["norm_2.weight"], p["norm_2.bias"])
    h = f.gelu(f.linear(h, p["mlp.up.weight"], p["mlp.up.bias"]), approximate="tanh")
    return x + f.linear(h, p["mlp.down.weight"], p["mlp.down.bias"])


def torch_llama(p, x):
    h = f.rms_norm(x, x.shape[-1:], p["norm_1.weight"], 1e-5)
    q, k, v = (heads(f.linear(h, p[f"attention.{n}.weight"]), c) for n, c in (("query", 6), ("key", 2), ("value", 2)))
    h = f.scaled_dot_product_attention(torch_rotary(q), torch_rotary(k), v, is_causal=True, enable_gqa=True)
    x = x + f.linear(h.transpose(1, 2).flatten(2), p["attention.output.weight"])
    h = f.rms_norm(x, x.shape[-1:], p["norm_2.weight"], 1e-5)
    h = f.silu(f.linear(h, p["mlp.gate.weight"])) * f.linear(h, p["mlp.up.weight"])
    return x + f.linear(h, p["mlp.down.weight"])


BLOCKS = {
    "gpt2": (lambda: TransformerBlock.gpt2(48, 6, stream=Stream(1)), torch_gpt2),
    "llama": (lambda: TransformerBlock.llama(48, 6, key_value_heads=2, stream=Stream(1)), torch_llama),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_values_and_all_gradients(name):
    make, peer = BLOCKS[name]
    block, x = make(), normal(3, 70, 48)
    parameters = dict(block.named_parameters())
    for key, tensor in parameters.items():
        if "norm" in key:  # not ones and zeros
            with tensor.edit() as array:
                array[...] = array + np.float32(0.1) * normal(*array.shape, name=key)
    inputs, peers = Tensor(x, requires_grad=True), {key: wide(tensor) for key, tensor in parameters.items()}
    other_inputs = wide(x)
    mine, other = block(inputs), peer(peers, other_inputs)
    g = normal(*mine.shape, name="g")
    names = ["value", "x", *parameters]
    found = [mine, *gradients(mine, [inputs, *parameters.values()], Tensor(g))]
    right = [other, *torch.autograd.grad(other, [other_inputs, *peers.values()], wide(g))]
    if name == "gpt2":  # the true gradient of key.bias is 0, so its rounding error is compared with the gradient of query.bias
        place, scale = names.index("attention.key.bias"), right[names.index("attention.query.bias")].abs().max().item()
        assert np.abs(found[place].numpy()).max() <= TOLERANCE * scale
        for values in (names, found, right):
            del values[place]
    assert_near(found, right, names)


def test_fast_arithmetic_is_near_pytorchs_float32():
    block = BLOCKS["gpt2"][0]()
    x = normal(3, 70, 48)
    with numerics("fast"):
        mine = block(Tensor(x)).numpy()
    peers = {key: torch.tensor(tensor.numpy().copy()) for key, tensor in block.named_parameters()}
    other = torch_gpt2(peers, torch.tensor(x)).numpy()
    np.testing.assert_allclose(mine, other, rtol=0, atol=5e-6)  # both round every step to float32
