"""Training runs that are killed with SIGKILL at random moments and resumed; they must end with the published bits.

    ./nox -s benchmark -- kill [PRESET] [--kills 20] [--seed 0]

The first run is not interrupted, and timed. Then a run is started and killed after a random part of that time, perhaps while its
data are prepared or a checkpoint is written, and started again. When it has finished, the next run begins.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time

from samebits.core import Stream
from samebits.lm import presets
from samebits.lm.metrics import read_metrics
from samebits.lm.run import open_run

TRAIN = """import sys
from samebits.lm import presets
from samebits.lm.run import start
start(presets.preset(sys.argv[1]), sys.argv[2]).trainer.train()"""


def begin(preset: str, folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", TRAIN, preset, folder])


def verdict(preset: str, folder: str) -> bool:
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
    options = parser.parse_args()
    stream, runs, killed, wrong, runs_on = Stream(options.seed).split("moments"), 0, 0, 0, False
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        begin(options.preset, f"{folder}/0").wait()
        seconds = time.perf_counter() - start
        wrong += not verdict(options.preset, f"{folder}/0")
        print(f"not interrupted: {seconds:.1f} s, {'OTHER BITS' if wrong else 'the published bits'}", flush=True)
        while killed < options.kills or runs_on:
            run = f"{folder}/{runs + 1}"
            moment = float(stream.uniform(high=seconds)) if killed < options.kills else None
            process = begin(options.preset, run)
            runs_on = not ended(process, moment)
            if runs_on:
                killed += 1
                print(f"run {runs + 1}: killed after {moment:.2f} s, {len(read_metrics(run))} lines of metrics", flush=True)
                continue
            same = process.returncode == 0 and verdict(options.preset, run)
            runs, wrong = runs + 1, wrong + (not same)
            print(f"run {runs}: ended with {'the published bits' if same else 'OTHER BITS'}", flush=True)
    print(f"{killed} kills in {runs} runs, {wrong} with other bits")
    sys.exit(bool(wrong))


def ended(process: subprocess.Popen[bytes], moment: float | None) -> bool:
    """Whether the process finished within so many seconds; it is killed if it did not."""
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait() != -signal.SIGKILL
    return True


if __name__ == "__main__":
    main()
