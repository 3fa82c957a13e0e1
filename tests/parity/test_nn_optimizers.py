"""Optimizers, clipping, schedules and initializers of samebits.nn beside those of PyTorch, over 50 steps.

Both sides get the same gradients. Each rounds a parameter about twice a step at 6e-8 of it, so the tolerance after 50 steps is 2e-6
of the largest parameter. PyTorch's Muon computes its products in bfloat16, with an error of 2^-9, so its tolerance is 0.5 % of the
change of the parameters (measured: 0.2 %); the naive implementation in tests/nn compares ours to 2e-6.
"""

import math

import numpy as np
import pytest
import torch

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn import SGD, Adam, AdamW, Muon, clip_gradient_norm, initializer, parameter, schedule

SHAPES = [(40, 30), (30, 40), (50, 50)]


def normal(name, *shape):
    return np.asarray(Stream(7).split(name).normal(size=shape))


def run(ours, theirs, steps=50, rate=None):
    """The parameters of both after some steps, and their initial values."""
    first = [normal(f"p{i}", *shape) for i, shape in enumerate(SHAPES)]
    left = [parameter(p) for p in first]
    right = [torch.tensor(p, requires_grad=True) for p in first]
    one, other = ours(left), theirs(right)
    for step in range(steps):
        for i, (x, y) in enumerate(zip(left, right, strict=True)):
            g = normal(f"g{i} {step % 7}", *x.shape) + np.float32(0.2) * x.numpy()
            x.grad, y.grad = Tensor(g), torch.tensor(g)
        one.step(None if rate is None else rate(step))
        if rate is not None:
            for group in other.param_groups:
                group["lr"] = rate(step)
        other.step()
    return [(x.numpy(), y.detach().numpy(), p) for x, y, p in zip(left, right, first, strict=True)]


ADAM = {"betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.1}
CASES = {
    "SGD": (lambda p: SGD(p, learning_rate=0.01), lambda p: torch.optim.SGD(p, lr=0.01)),
    "SGD, momentum and decay": (
        lambda p: SGD(p, learning_rate=0.01, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    ),
    "SGD, Nesterov": (
        lambda p: SGD(p, learning_rate=0.01, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    ),
    "AdamW": (AdamW, torch.optim.AdamW),
    "Adam": (Adam, torch.optim.Adam),
    "Adam with other options": (
        lambda p: Adam(p, learning_rate=0.01, **ADAM),
        lambda p: torch.optim.Adam(p, lr=0.01, **ADAM),
    ),
    "AdamW with other options": (
        lambda p: AdamW(p, learning_rate=0.01, **ADAM),
        lambda p: torch.optim.AdamW(p, lr=0.01, **ADAM),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_are_pytorchs(name):
    for x, y, _ in run(*CASES[name]):
        assert np.abs(x - y).max() <= 2e-6 * np.abs(y).max()


def test_fifty_steps_on_a_schedule_are_pytorchs():
    def rate(step):
        return schedule.cosine(step, peak=0.01, warmup=10, steps=50, final=0.001)

    for x, y, _ in run(lambda p: AdamW(p, **ADAM), lambda p: torch.optim.AdamW(p, **ADAM), rate=rate):
        assert np.abs(x - y).max() <= 2e-6 * np.abs(y).max()


@pytest.mark.parametrize("name", ["AdamW", "Adam with other options"])
def test_the_state_is_pytorchs_and_continues_from_it(name):
    ours, theirs = CASES[name]
    first = [normal(f"p{i}", *shape) for i, shape in enumerate(SHAPES)]
    right = [torch.tensor(p, requires_grad=True) for p in first]
    other = theirs(right)

    def step():
        for i, y in enumerate(right):
            y.grad = torch.tensor(normal(f"g{i}", *y.shape))
        other.step()

    for _ in range(10):
        step()
    left = [parameter(y.detach().numpy().copy()) for y in right]
    one = ours(left)
    kinds = {"exp_avg": np.asarray, "exp_avg_sq": np.asarray, "step": lambda x: np.array(int(x), np.int64)}
    saved = other.state_dict()["state"]
    one.load_state_dict({f"{i}.{kind}": convert(saved[i][kind]) for i in saved for kind, convert in kinds.items()})
    for _ in range(10):
        for i, x in enumerate(left):
            x.grad = Tensor(normal(f"g{i}", *x.shape))
        one.step()
        step()
    state, saved = one.state_dict(), other.state_dict()["state"]
    for i, (x, y) in enumerate(zip(left, right, strict=True)):
        assert np.abs(x.numpy() - y.detach().numpy()).max() <= 1e-6 * np.abs(x.numpy()).max()
        for kind in ("exp_avg", "exp_avg_sq"):
            np.testing.assert_allclose(state[f"{i}.{kind}"], saved[i][kind].numpy(), rtol=1e-5, atol=1e-7)
        assert state[f"{i}.step"] == int(saved[i]["step"]) == 20


@pytest.mark.parametrize("nesterov", [True, False])
def test_fifty_steps_of_muon_are_pytorchs_up_to_bfloat16(nesterov):
    def ours(p):
        return Muon(p, learning_rate=0.02, nesterov=nesterov)

    def theirs(p):
        return torch.optim.Muon(p, lr=0.02, nesterov=nesterov)

    for x, y, first in run(ours, theirs):
        assert np.linalg.norm(x - y) <= 0.005 * np.linalg.norm(y - first)


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipping_is_pytorchs(limit):
    gradients = [normal(f"g{i}", *shape) for i, shape in enumerate(SHAPES)]
    left = [parameter(np.zeros_like(g)) for g in gradients]
    right = [torch.zeros(g.shape, requires_grad=True) for g in gradients]
    for x, y, g in zip(left, right, gradients, strict=True):
        x.grad, y.grad = Tensor(g), torch.tensor(g)
    norm, theirs = clip_gradient_norm(left, limit), torch.nn.utils.clip_grad_norm_(right, limit).item()
    assert math.isclose(norm, theirs, rel_tol=1e-6)
    for x, y in zip(left, right, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-6)


def rates(make, steps):
    """The rates of PyTorch's scheduler, for a rate of 0.6."""
    one = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.6)
    scheduler = make(one)
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        one.step()
        scheduler.step()
    return found


def warmed(one, after):
    """Ten steps of warm-up, then another schedule."""
    up = torch.optim.lr_scheduler.LinearLR(one, start_factor=0.1, end_factor=1.0, total_iters=9)
    return torch.optim.lr_scheduler.SequentialLR(one, [up, after], milestones=[10])


def test_schedules_are_pytorchs():
    """PyTorch computes each rate from the one before and so accumulates rounding errors: 1e-12 is some thousand of them."""
    lr = torch.optim.lr_scheduler
    theirs = rates(lambda one: warmed(one, lr.CosineAnnealingLR(one, T_max=90, eta_min=0.06)), 100)
    ours = [schedule.cosine(step, peak=0.6, warmup=10, steps=100, final=0.06) for step in range(100)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)

    theirs = rates(lambda one: warmed(one, lr.ConstantLR(one, factor=1.0)), 30)
    np.testing.assert_allclose([schedule.linear_warmup(step, peak=0.6, warmup=10) for step in range(30)], theirs, rtol=1e-12)

    def down(one):
        return lr.SequentialLR(one, [lr.ConstantLR(one, factor=1.0), lr.LinearLR(one, 1.0, 0.1, total_iters=20)], milestones=[70])

    ours = [schedule.warmup_stable_decay(step, peak=0.6, warmup=0, decay=20, steps=90, final=0.06) for step in range(95)]
    np.testing.assert_allclose(ours, rates(down, 95), rtol=1e-12)

    theirs = rates(lambda one: lr.LambdaLR(one, lambda step: min(1.0, (step + 1) / 10)), 30)
    np.testing.assert_allclose([schedule.linear_warmup(step, peak=0.6, warmup=10) for step in range(30)], theirs, rtol=1e-15)


def test_initializers_have_the_standard_deviation_of_pytorchs():
    """Two samples of 120000: the error of a standard deviation is 0.2 %, that of a uniform bound less."""
    torch.manual_seed(0)
    for ours, theirs in (
        (initializer.xavier_uniform(), torch.nn.init.xavier_uniform_),
        (initializer.xavier_normal(), torch.nn.init.xavier_normal_),
        (initializer.kaiming_uniform(), torch.nn.init.kaiming_uniform_),
        (initializer.kaiming_normal(), torch.nn.init.kaiming_normal_),
        (initializer.truncated_normal(std=1.0), torch.nn.init.trunc_normal_),
        (initializer.kaiming_uniform(gain=math.sqrt(1 / 3)), lambda x: torch.nn.init.kaiming_uniform_(x, a=math.sqrt(5))),
    ):
        x, y = ours(Stream(0), (300, 400)), theirs(torch.empty(300, 400)).numpy()
        assert math.isclose(x.std(), y.std(), rel_tol=0.01)
        if np.abs(y).max() < 2.5 * y.std():
            assert math.isclose(np.abs(x).max(), np.abs(y).max(), rel_tol=0.001)
