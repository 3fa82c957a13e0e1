"""Names that PyTorch or NumPy arrays have and `Tensor` does not, with what to write instead."""

from typing import Any, NoReturn

__all__ = ["attribute_error"]

INSTEAD = {
    "add_": "x.edit() to write in place, or x + y",
    "amax": "x.max(axis)",
    "amin": "x.min(axis)",
    "argsort": "samebits.core.argsort(x.numpy())",
    "bool": "x.astype(bool)",
    "chunk": "x.split(sections, axis)",
    "contiguous": "x itself: operations take any memory layout",
    "cpu": "x itself: tensors are in main memory",
    "cuda": "x itself: samebits runs on the CPU",
    "device": "nothing: samebits runs on the CPU",
    "dim": "x.ndim",
    "div": "x / y",
    "double": 'x.astype(np.float64) under numerics("fast")',
    "einsum": "samebits.autograd.einsum(subscripts, x, ...)",
    "fill_": "x.edit() to write in place, or autograd.full(shape, value)",
    "float": "x.astype(np.float32)",
    "gather": "x.take(indices, axis) or x[indices]",
    "grad_fn": "x.draw(), which shows the graph",
    "half": "nothing: tensors are float32",
    "index_select": "x.take(indices, axis)",
    "long": "x.astype(np.int64)",
    "masked_fill": "samebits.autograd.where(mask, value, x)",
    "mm": "x @ y",
    "mul": "x * y",
    "norm": "(x * x).sum().sqrt()",
    "numel": "x.size",
    "pow": "x ** exponent",
    "prod": "exp of the sum of logarithms, or a loop of products",
    "ravel": "x.flatten()",
    "repeat": "x.expand(...), or samebits.autograd.concatenate([x, x])",
    "requires_grad_": "x.requires_grad = True",
    "retain_grad": "samebits.autograd.gradients(output, [x])",
    "square": "x * x",
    "sub": "x - y",
    "t": "x.T",
    "to": "x.astype(dtype); samebits runs on the CPU",
    "type": "x.astype(dtype)",
    "view": "x.reshape(...)",
    "zero_": "x.edit() to write in place; for gradients, x.grad = None",
}


def attribute_error(x: Any, name: str) -> NoReturn:
    """Raise AttributeError, with our equivalent where there is one."""
    hint = f"; use {INSTEAD[name]}" if name in INSTEAD else ""
    raise AttributeError(f"'Tensor' object has no attribute {name!r}{hint}", name=name, obj=x)
