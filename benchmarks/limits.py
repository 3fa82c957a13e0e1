"""What the compiled kernels must reach, as ratios of times in one run; each is measured with one thread and with two."""

from dataclasses import dataclass

from samebits import kernels


@dataclass(frozen=True)
class Limit:
    """The largest value allowed, or the smallest; ``avx512`` is that of CPUs where NumPy itself uses wider registers."""

    most: float = float("inf")
    least: float = 0.0
    avx512: float | None = None

    def value(self) -> float:
        if self.avx512 is not None and kernels.level() == "avx512":
            return self.avx512
        return self.least or self.most

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.value():g}"

    def verdict(self, measured: float) -> str:
        return "met" if (measured >= self.value() if self.least else measured <= self.value()) else "missed"


ELEMENTARY = Limit(most=1.0, avx512=2.5)  # an elementary function of 4 million numbers, over NumPy's
LAYER = Limit(most=1.2)  # softmax, normalizations, activations, cross entropy, forward and backward, over PyTorch eager
ADAMW = Limit(most=0.8)  # over PyTorch's fused AdamW
MATMUL = Limit(most=2.15)  # over float32 BLAS
WEIGHTS_BY_VALUES = Limit(most=2.8)  # a product of attention, over float32 BLAS
# In int16 arithmetic, over float32 BLAS. Here and below, CPUs with AVX-512 mostly have VNNI.
MATMUL_INT16 = Limit(most=0.65, avx512=0.5)
ATTENTION_INT16 = Limit(most=0.8)  # forward and backward, over PyTorch eager
SCALAR = Limit(most=3.0)  # microseconds for tanh of a (1,) array
TRAINING = {"6x384": Limit(least=0.62), "4x128": Limit(least=0.60)}  # PyTorch's time over ours
TRAINING_INT16 = {"6x384": Limit(least=1.4, avx512=1.7), "4x128": Limit(least=1.5)}
WRITING = {"4x128": Limit(least=1.0)}  # tokens per second over PyTorch's, with a cache
WRITING_INT16 = {"6x384": Limit(least=1.8)}
MEMORY_INT16 = {"6x384": Limit(most=0.6)}  # peak memory of training over PyTorch's
