"""Optimizers by name, as from a configuration file, with the usual choice of which parameters decay.

    build_optimizer("adamw", model.named_parameters(), learning_rate=1e-3, weight_decay=0.1)

Matrices decay; biases and gains do not. "muon" is two optimizers as one: Muon for the matrices of hidden layers, and AdamW
for everything else. All have the same interface: `step`, `zero_grad`, `state_dict`, `load_state_dict`.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from samebits.autograd import Tensor
from samebits.nn.adamw import Adam, AdamW
from samebits.nn.lion import Lion
from samebits.nn.muon import Muon
from samebits.nn.optimizer import CombinedOptimizer, Optimizer, named
from samebits.nn.sgd import SGD

__all__ = ["OPTIMIZERS", "build_optimizer", "decay_groups", "hidden_matrices"]

Pairs = list[tuple[str, Tensor]]

OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "lion": Lion, "muon": Muon, "sgd": SGD}
"""The optimizers by the names that `build_optimizer` takes."""

NOT_HIDDEN = ("embedding", "positions", "head")


def build_optimizer(
    name: str,
    parameters: Iterable[tuple[str, Tensor]],
    *,
    learning_rate: float,
    adamw: Mapping[str, Any] | None = None,
    not_hidden: Collection[str] = NOT_HIDDEN,
    **options: Any,
) -> Optimizer:
    """An optimizer by its name.

    Args:
        name: "adam", "adamw", "lion", "muon" or "sgd".
        parameters: (name, tensor) pairs, as from `Module.named_parameters`. Weight decay applies to tensors with two axes or
            more, as in `decay_groups`.
        learning_rate: The step size, of Muon for "muon".
        adamw: For "muon" only: the options of AdamW for the other parameters; by default the learning rate and weight decay
            of Muon, and AdamW's own defaults.
        not_hidden: For "muon" only: see `hidden_matrices`.
        options: The other options of the optimizer, such as ``weight_decay``, ``betas`` or ``momentum``.

    Raises:
        TypeError: The optimizer has no such option.
        ValueError: There is no such optimizer, or an option is out of range.

    Example:
        >>> from samebits.core import Stream
        >>> from samebits.nn import MLP
        >>> model = MLP(4, 8, stream=Stream(0))
        >>> build_optimizer("sgd", model.named_parameters(), learning_rate=0.1, momentum=0.9, weight_decay=0.01)
        SGD  76 parameters
        ├ 64 parameters: learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.01
        └ 12 parameters: learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0
        >>> build_optimizer("muon", model.named_parameters(), learning_rate=0.02, adamw={"learning_rate": 1e-3})
        CombinedOptimizer  76 parameters
        ├ Muon: 64 parameters: learning_rate=0.02, momentum=0.95, nesterov=True, weight_decay=0.1, iterations=5
        └ AdamW: 12 parameters: learning_rate=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"build_optimizer: name must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    pairs = named("build_optimizer", parameters)
    if name != "muon":
        if adamw is not None:
            raise TypeError(f"build_optimizer: adamw is an option of 'muon', got it with {name!r}")
        return OPTIMIZERS[name](decay_groups(pairs), learning_rate=learning_rate, **options)
    matrices = hidden_matrices(pairs, not_hidden)
    muon = Muon(matrices, learning_rate=learning_rate, **options)
    taken = {key for key, _ in matrices}
    others = [pair for pair in pairs if pair[0] not in taken]
    if not others:
        return muon
    shared = {key: getattr(muon.slots[0].options, key) for key in ("learning_rate", "weight_decay")}
    return CombinedOptimizer([muon, AdamW(decay_groups(others), **{**shared, **(adamw or {})})])


def decay_groups(parameters: Iterable[tuple[str, Tensor]]) -> list[dict[str, Any]]:
    """Two groups for an optimizer: tensors with two axes or more, and the others, with a weight decay of 0.

    Weight decay keeps weights small where many of them are summed; gains and biases are not summed, and are left alone.

    Example:
        >>> from samebits.nn import parameter
        >>> groups = decay_groups([("weight", parameter([[1.0]])), ("bias", parameter([0.0]))])
        >>> [(name, group.get("weight_decay")) for group in groups for name, _ in group["parameters"]]
        [('weight', None), ('bias', 0.0)]
    """
    pairs = named("decay_groups", parameters)
    return [
        {"parameters": [pair for pair in pairs if pair[1].ndim >= 2]},
        {"parameters": [pair for pair in pairs if pair[1].ndim < 2], "weight_decay": 0.0},
    ]


def hidden_matrices(parameters: Iterable[tuple[str, Tensor]], not_hidden: Collection[str] = NOT_HIDDEN) -> Pairs:
    """The parameters for `Muon`: those with two axes, if no part of their name is in ``not_hidden``.

    Embeddings and output layers are matrices too, but each of their rows belongs to one token: AdamW is better for them
    (Jordan et al., 2024).

    Args:
        parameters: (name, tensor) pairs.
        not_hidden: Parts of names, between dots, of matrices to leave out.

    Example:
        >>> from samebits.nn import parameter
        >>> matrix = parameter([[1.0]])
        >>> pairs = [("embedding.weight", matrix), ("mlp.up.weight", matrix), ("mlp.up.bias", parameter([0.0]))]
        >>> [name for name, _ in hidden_matrices(pairs)]
        ['mlp.up.weight']
    """
    pairs = named("hidden_matrices", parameters)
    return [pair for pair in pairs if pair[1].ndim == 2 and not set(pair[0].split(".")) & set(not_hidden)]
