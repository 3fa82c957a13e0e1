"""A multi-layer perceptron learns to classify three species of iris: the worked example of nn.md.

Run it to train and print the loss. With a path as its argument it also writes the loss curve there, as SVG. The printed
numbers and the bytes of the picture are the same on every machine.

The flowers were measured by Edgar Anderson (1935) and published by R. A. Fisher (1936, doi:10.1111/j.1469-1809.1936.tb02137.x).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits import core
from samebits.autograd import Tensor, no_grad, relu
from samebits.core import Stream
from samebits.nn import AdamW, Linear, Module, clip_gradient_norm, cross_entropy, schedule

Array = npt.NDArray[Any]

# Fifty flowers a species: length and width of the sepal, length and width of the petal, in millimeters, two digits each.
FLOWERS = {
    "setosa": """
        51351402 49301402 47321302 46311502 50361402 54391704 46341403 50341502 44291402 49311501 54371502 48341602 48301401
        43301101 58401202 57441504 54391304 51351403 57381703 51381503 54341702 51371504 46361002 51331705 48341902 50301602
        50341604 52351502 52341402 47321602 48311602 54341504 52411501 55421402 49311502 50321202 55351302 49361401 44301302
        51341502 50351303 45231303 44321302 50351606 51381904 48301403 51381602 46321402 53371502 50331402
    """,
    "versicolor": """
        70324714 64324515 69314915 55234013 65284615 57284513 63334716 49243310 66294613 52273914 50203510 59304215 60224010
        61294714 56293613 67314414 56304515 58274110 62224515 56253911 59324818 61284013 63254915 61284712 64294313 66304414
        68284814 67305017 60294515 57263510 55243811 55243710 58273912 60275116 54304515 60344516 67314715 63234413 56304113
        55254013 55264412 61304614 58264012 50233310 56274213 57304212 57294213 62294313 51253011 57284113
    """,
    "virginica": """
        63336025 58275119 71305921 63295618 65305822 76306621 49254517 73296318 67255818 72366125 65325120 64275319 68305521
        57255020 58285124 64325323 65305518 77386722 77266923 60225015 69325723 56284920 77286720 63274918 67335721 72326018
        62284818 61304918 64285621 72305816 74286119 79386420 64285622 63285115 61265614 77306123 63345624 64315518 60304818
        69315421 67315624 69315123 58275119 68325923 67335725 67305223 63255019 65305220 62345423 59305118
    """,
}
STEPS = 200
BATCH = 20


def read() -> tuple[Array, Array]:
    """Measurements, scaled to mean 0 and standard deviation 1, float32 (150, 4); species, int64 (150,)."""
    digits = "".join("".join(text.split()) for text in FLOWERS.values())
    x = np.array([int(digits[i : i + 2]) for i in range(0, len(digits), 2)], np.float32).reshape(150, 4)
    return (x - core.mean(x, axis=0)) / core.std(x, axis=0), np.repeat(np.arange(3, dtype=np.int64), 50)


class Classifier(Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self, inputs: int, hidden: int, classes: int, *, stream: Stream) -> None:
        self.hidden = Linear(inputs, hidden, stream=stream.split("hidden"))
        self.output = Linear(hidden, classes, stream=stream.split("output"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.output(relu(self.hidden(x)))


def train(seed: int = 0) -> tuple[Classifier, list[tuple[float, float]], float]:
    """Train on 100 flowers; return the model, the losses of the batch and of the other 50 at each step, and their accuracy."""
    stream = Stream(seed)
    x, species = read()
    order = stream.split("order").permutation(150)
    training, held_out = order[:100], order[100:]

    model = Classifier(4, 16, 3, stream=stream.split("model"))
    optimizer = AdamW(model.named_parameters(), weight_decay=0.01)
    batches, losses = stream.split("batches"), []
    for step in range(STEPS):
        batch = batches.choice(training, BATCH, replace=False)
        loss = cross_entropy(model(Tensor(x[batch])), species[batch])
        loss.backward()
        clip_gradient_norm(model.named_parameters(), 1.0)
        optimizer.step(schedule.cosine(step, peak=0.03, warmup=10, steps=STEPS))
        optimizer.zero_grad()
        with no_grad():
            logits = model(Tensor(x[held_out]))
            losses.append((loss.item(), cross_entropy(logits, species[held_out]).item()))
    right = logits.numpy().argmax(axis=1) == species[held_out]
    return model, losses, np.count_nonzero(right) / 50


def picture(losses: list[tuple[float, float]]) -> str:
    """The loss curves as SVG, on a light card so that they are legible on any background."""
    left, top, width, height, most = 56, 40, 560, 220, 1.25

    def x(step: float) -> float:
        return left + width * step / STEPS

    def y(loss: float) -> float:
        return top + height * (1 - loss / most)

    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 312" font-family="sans-serif" font-size="12" fill="#33333b">',
        "<title>Cross entropy of the batch and of the held-out flowers, over 200 steps</title>",
        '<rect width="640" height="312" rx="8" fill="#ffffff"/>',
        f'<text x="{left}" y="22">cross entropy (nats)</text>',
        f'<text x="{left + width / 2:.1f}" y="{top + height + 38}" text-anchor="middle">step</text>',
    ]
    for i in range(6):
        lines.append(f'<path d="M{left} {y(i / 4):.1f}h{width}" stroke="{"#8a8a94" if i == 0 else "#e3e3e8"}"/>')
        lines.append(f'<text x="{left - 8}" y="{y(i / 4) + 4:.1f}" text-anchor="end">{i / 4:.2f}</text>')
    for step in range(0, STEPS + 1, 50):
        lines.append(f'<path d="M{x(step):.1f} {y(0):.1f}v5" stroke="#8a8a94"/>')
        lines.append(f'<text x="{x(step):.1f}" y="{top + height + 18}" text-anchor="middle">{step}</text>')
    for i, (name, color, thickness) in enumerate((("batch of 20", "#d9731f", 1.2), ("50 held-out flowers", "#17592b", 2))):
        points = " ".join(f"{x(step):.1f},{y(pair[i]):.1f}" for step, pair in enumerate(losses))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{thickness}"/>')
        lines.append(f'<path d="M{330 + 130 * i} 18h24" stroke="{color}" stroke-width="{thickness}"/>')
        lines.append(f'<text x="{362 + 130 * i}" y="22">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Train, print, and draw if a path is given."""
    model, losses, accuracy = train()
    print(model)
    for step in (0, 20, 50, 100, 150, 199):
        print(f"step {step:3}   batch {losses[step][0]:.6f}   held out {losses[step][1]:.6f}")
    print(f"{accuracy:.0%} of the held-out flowers are classified correctly; digest {core.digest(model.output.weight.numpy())}")
    for path in sys.argv[1:]:
        Path(path).write_text(picture(losses), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
