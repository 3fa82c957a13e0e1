"""Training runs that are killed with SIGKILL at random moments and resumed; they must end with the published bits.

    ./nox -s benchmark -- kill [PRESET] [--kills 20] [--seed 0] [--workers 4]

The first run is not interrupted, and timed. Then a run is started and killed after a random part of that time, perhaps while its
data are prepared or a checkpoint is written, and started again. When it has finished, the next run begins.
With --workers, each start has a random number of workers up to that, and a random one of them is killed.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from samebits.core import Stream
from samebits.lm import presets
from samebits.lm.metrics import read_metrics
from samebits.lm.run import open_run

TRAIN = """import sys
from samebits.lm import presets
from samebits.lm.run import start
start(presets.preset(sys.argv[1]), sys.argv[2]).trainer.train()"""


class Process:
    """A training process, or several workers."""

    def __init__(self, preset: str, run: Path, stream: Stream, most: int) -> None:
        self._stream = stream
        self.workers = int(stream.split("workers").integers(most)) + 1
        self._numbers = tempfile.TemporaryDirectory()  # where the launcher keeps the process numbers of workers
        command, environment = ["-c", TRAIN, preset, str(run)], {**os.environ, "TMPDIR": self._numbers.name}
        if most > 1:
            begun = [f"--preset={preset}"] if not (run / "config.toml").exists() else ["--resume"]
            command = ["-m", "samebits.cli", "train", *begun, f"--out={run}", f"--workers={self.workers}"]
        output = subprocess.DEVNULL if most > 1 else None
        self._process = subprocess.Popen([sys.executable, *command], env=environment, stdout=output, stderr=output)

    def ended(self, moment: float | None) -> bool:
        """Whether it finished within so many seconds; it is killed if it did not."""
        try:
            self.status = self._process.wait(moment)
        except subprocess.TimeoutExpired:
            if self.workers == 1:
                self._process.kill()
                return self._process.wait() != -signal.SIGKILL
            numbers = [int(file.name) for file in Path(self._numbers.name).glob("*/*")]
            if numbers:
                os.kill(numbers[int(self._stream.split("worker").integers(len(numbers)))], signal.SIGKILL)
            else:  # it has not yet started them
                self._process.terminate()
            self.status = self._process.wait(120)
            return self.status == 0
        return True


def verdict(preset: str, folder: Path) -> bool:
    """Whether a finished run has the published bits and a line of metrics for each step."""
    model, config, tokenizer = open_run(folder)
    found = presets.digests(model, presets.sample(model, tokenizer))
    steps = [record["step"] for record in read_metrics(folder)]
    return found == presets.published(presets.preset(preset)) and steps == list(range(config.steps + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="micro")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    stream, starts, runs, killed, wrong, runs_on = Stream(options.seed).split("moments"), 0, 0, 0, 0, False
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        Process(options.preset, Path(folder, "0"), stream.split(0), options.workers).ended(None)
        seconds = time.perf_counter() - start
        wrong += not verdict(options.preset, Path(folder, "0"))
        print(f"not interrupted: {seconds:.1f} s, {'OTHER BITS' if wrong else 'the published bits'}", flush=True)
        while killed < options.kills or runs_on:
            run, starts = Path(folder, str(runs + 1)), starts + 1
            mine = stream.split(starts)
            moment = float(mine.uniform(high=seconds)) if killed < options.kills else None
            process = Process(options.preset, run, mine, options.workers)
            runs_on = not process.ended(moment)
            if runs_on:
                killed += 1
                lines = len(read_metrics(run)) if run.exists() else 0
                print(
                    f"run {runs + 1}: one of {process.workers} killed after {moment:.2f} s, {lines} lines of metrics", flush=True
                )
                continue
            same = process.status == 0 and verdict(options.preset, run)
            runs, wrong = runs + 1, wrong + (not same)
            print(f"run {runs}: ended with {'the published bits' if same else 'OTHER BITS'}", flush=True)
    print(f"{killed} kills in {runs} runs, {wrong} with other bits")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
