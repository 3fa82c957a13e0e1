"""Training progress: a bar in a terminal, lines elsewhere, and a line for each evaluation in both."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from samebits.cli.busy_machine import BusyMachine
from samebits.cli.terminal import console, print_note
from samebits.lm import Trainer
from samebits.lm.run import Run

__all__ = ["shown_progress"]


@contextmanager
def shown_progress(run: Run) -> Iterator[None]:
    """Show the steps of the run while the block trains it."""
    recent: deque[float] = deque(maxlen=50)  # seconds of the last steps
    busy = BusyMachine()
    config = run.config
    tokens = config.batch * config.model.context
    bar = Progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  {task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=config.steps, completed=run.trainer.step, loss="", speed="")

    def after_step(trainer: Trainer, record: Mapping[str, float]) -> None:
        del trainer
        step = int(record["step"])
        if "seconds" in record:
            recent.append(record["seconds"])
            speed = f"{tokens * len(recent) / max(sum(recent), 1e-9):,.0f} tokens/s"
            bar.update(task, completed=step, loss=f"{record['loss']:.3f}", speed=speed)
        if "validation_loss" in record or (not console.is_terminal and step % max(1, config.steps // 10) == 0):
            bar.console.print(_line(record, tokens, recent, config.steps), soft_wrap=True)
        if note := busy.after_step():
            print_note(note)

    run.trainer.callbacks.append(after_step)
    with bar:
        yield


def _line(record: Mapping[str, float], tokens: int, recent: Sequence[float], steps: int) -> str:
    """The losses of a step, the speed, and the time left."""
    step = int(record["step"])
    parts = [f"step {step:>{len(f'{steps:,}')},} of {steps:,}"]
    if "loss" in record:
        parts.append(f"loss {record['loss']:.3f}")
    if "validation_loss" in record:
        parts.append(f"validation {record['validation_loss']:.3f}")
    if "bits_per_byte" in record:
        parts.append(f"bits per byte {record['bits_per_byte']:.3f}")
    if recent:
        mean = sum(recent) / len(recent)
        parts += [f"{tokens / max(mean, 1e-9):,.0f} tokens/s", f"{mean * (steps - step):,.0f} s left"]
    return "   ".join(parts)
