"""Workers: how a step's time falls with their number, beside PyTorch's DDP; what they send; and a model of many of them.

    ./nox -s parity -- bench workers [--size 6x384] [--batch 16] [--steps 6] [--rounds 3] [--numerics exact]

- step time: one worker on one core and two on two, of the same batch, of so many sequences; DDP with gloo on the same cores, with the same model and
  batch. The sides take turns; the figures are the best steps, which other processes disturb least. The processor time of a worker's
  step is that of a machine where nothing else runs and messages take no time.
- bytes: what two, three and four workers send in a step, counted by the system's loopback interface while MPI is held to TCP.
- exchange: the time of an exchange of a gradient's bytes, for several sizes, from which latency and bandwidth are fitted.
- model: the step time of 8 to 512 workers with a shard each, from these figures.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm import SIZES, Random, config, torch_model

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "SAMEBITS_THREADS"), "1")
# no shared memory: all goes through TCP, as between machines
TCP = {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp", "FI_TCP_IFACE": "lo", "MPIR_CVAR_NOLOCAL": "1"}
LOOPBACK = Path("/sys/class/net/lo/statistics/tx_bytes")


def best(step: Callable[[], Any], steps: int) -> tuple[float, float]:
    """The shortest of some steps and the least processor time of one, in seconds, after two that are not counted."""
    taken = []
    for _ in range(steps + 2):
        start = time.perf_counter(), time.process_time()
        step()
        taken.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return min(wall for wall, _ in taken[2:]), min(processor for _, processor in taken[2:])


# What a child process does; the first worker prints a number


def ours(size: str, batch: int, steps: int, mode: Any) -> None:
    from samebits.cli.memory import keep_freed_pages
    from samebits.cli.mpi import joined
    from samebits.core import Stream, numerics
    from samebits.lm import LanguageModel, Trainer

    keep_freed_pages()
    with joined(None) as workers, numerics(mode):
        settings = replace(config(size), batch=batch, numerics=mode, shards=2)
        model = LanguageModel(settings.model, stream=Stream(0).split("model"))
        trainer = Trainer(settings, model, Random(settings), workers=workers)
        found = best(trainer._step, steps)  # noqa: SLF001 - only the step is measured
        if workers.rank == 0:
            print(json.dumps(found))


def theirs(size: str, batch: int, steps: int, rank: int, count: int) -> None:
    import torch
    from torch.distributed import destroy_process_group, init_process_group
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    settings = replace(config(size), batch=batch)
    model: Any = torch_model(settings)
    if count > 1:
        init_process_group("gloo", rank=rank, world_size=count)
        model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    batches, rows, done = Random(settings), settings.batch // count, 0

    def step() -> None:
        nonlocal done
        inputs, targets = (torch.from_numpy(x[rank * rows : (rank + 1) * rows]) for x in batches.batch(done))
        optimizer.zero_grad()
        cross_entropy(model(inputs).view(-1, settings.model.vocabulary_size), targets.view(-1)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        done += 1

    found = best(step, steps)
    if rank == 0:
        print(json.dumps(found))
    if count > 1:
        destroy_process_group()


def sent(size: str, steps: int) -> None:
    """Bytes that all workers send in a step, less what they send in steps of a model without its matrices."""
    from samebits.cli.mpi import joined
    from samebits.core import Stream
    from samebits.lm import LanguageModel, Trainer

    with joined(None) as workers:
        settings = replace(config(size), shards=workers.size, batch=workers.size)
        model = LanguageModel(settings.model, stream=Stream(0))
        trainer = Trainer(settings, model, Random(settings), workers=workers)
        trainer._step()  # noqa: SLF001
        workers.gather(None)
        before = int(LOOPBACK.read_text())
        workers.gather(None)
        for _ in range(steps):
            trainer._step()  # noqa: SLF001
        workers.gather(None)
        if workers.rank == 0:
            print(json.dumps([(int(LOOPBACK.read_text()) - before) / steps / workers.size, model.parameter_count()]))
        workers.gather(None)


def exchanges() -> None:
    """Seconds of an exchange, by the number of float64 elements."""
    import numpy as np

    from samebits.cli.mpi import joined

    with joined(None) as workers:
        found = {}
        for elements in (1, 2**10, 2**15, 2**18, 2**21):
            values = np.zeros(elements)
            found[elements * 8] = best(lambda values=values: workers.total(values).Wait(), 20)[0]
        if workers.rank == 0:
            print(json.dumps(found))


# The parent


def started(arguments: list[str], count: int, cores: str, **environment: str) -> Any:
    """Run a child as several MPI processes on some cores; returns what it prints."""
    prefix = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(count)] if count > 1 else []
    if prefix and not Path(prefix[0]).exists():
        prefix[0] = shutil.which("mpiexec") or "mpiexec"
    command = ["taskset", "-c", cores, *prefix, sys.executable, __file__, *arguments]
    settings = {**os.environ, **ONE_THREAD, **environment}
    done = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def ddp(size: str, batch: int, steps: int, count: int, cores: str) -> list[float]:
    """What a child of PyTorch prints, with so many processes."""
    settings = {**os.environ, **ONE_THREAD, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29533", "GLOO_SOCKET_IFNAME": "lo"}
    commands = [
        ["taskset", "-c", cores, sys.executable, __file__, "theirs", size, str(batch), str(steps), str(rank), str(count)]
        for rank in range(count)
    ]
    processes = [subprocess.Popen(one, env=settings, stdout=subprocess.PIPE, text=True) for one in commands]
    outputs = [process.communicate()[0] for process in processes]
    found: list[float] = json.loads(outputs[0].strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="6x384", choices=list(SIZES))
    parser.add_argument("--batch", type=int, help="sequences of a batch; by default few, so that a step is short")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--numerics", default="exact")
    options = parser.parse_args()
    size, steps, batch = options.size, str(options.steps), options.batch or config(options.size).batch
    mine: dict[int, list[list[float]]] = {1: [], 2: []}
    other: dict[int, list[list[float]]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for count, cores in ((1, "0"), (2, "0,1")):
            mine[count].append(started(["ours", size, str(batch), steps, options.numerics], count, cores))
            with suppress(ModuleNotFoundError, IndexError):
                other[count].append(ddp(size, batch, options.steps, count, cores))
    print("| ms for a step | 1 worker, 1 core | 2 workers, 2 cores | ratio | processor time of a worker, of 1 | of 2 | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, times in (("samebits, " + options.numerics, mine), ("PyTorch, DDP with gloo", other)):
        if times[1] and times[2]:
            one, two = ([min(times[count], key=lambda pair: pair[i])[i] * 1000 for i in range(2)] for count in (1, 2))
            row = [f"{one[i]:.0f} | {two[i]:.0f} | {one[i] / two[i]:.2f}" for i in range(2)]
            print(f"| {name} | {' | '.join(row)} |")
    print("\n| workers | bytes sent for each parameter, step and worker | 9 · 2 (n - 1) / n |\n| --- | ---: | ---: |")
    for count in (2, 3, 4):
        nbytes, parameters = started(["sent", size, "2"], count, "0,1", **TCP)
        print(f"| {count} | {nbytes / parameters:.2f} | {18 * (count - 1) / count:.2f} |")
    for name, settings in (("shared memory", {}), ("TCP", TCP)):
        found = {int(key): value for key, value in started(["exchanges"], 2, "0,1", **settings).items()}
        largest = max(found)
        print(
            f"\nexchange of two workers, {name}: {found[8] * 1e6:.0f} µs for 8 bytes, {largest / found[largest] / 1e9:.2f} GB/s"
        )
    model(min(mine[1])[0], config(size), found[8] / 2, found[largest] / largest)


def model(seconds: float, settings: Any, latency: float, per_byte: float) -> None:
    """Print the step time of n workers with one shard each, without and with overlap, of a batch of n times the sequences.

    A ring sends 2 (n - 1) messages one after the other for each of two exchanges, and 2 (n - 1) / n of the bytes.
    """
    from samebits.lm import parameter_count

    parameters = parameter_count(settings.model)
    shard = seconds / 2
    print(f"\n{parameters:,} parameters, {shard * 1000:.0f} ms for a shard\n")
    print("| workers | exchange, ms | efficiency without overlap | with |\n| ---: | ---: | ---: | ---: |")
    for count in (8, 16, 32, 64, 128, 256, 512):
        exchange = 4 * (count - 1) * latency + 2 * (count - 1) / count * 9 * parameters * per_byte
        backward = shard * 2 / 3  # the part of a step that an exchange can overlap
        print(
            f"| {count} | {exchange * 1000:.0f} | {shard / (shard + exchange):.2f} | {shard / (shard + max(0, exchange - backward)):.2f} |"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ours", size, batch, steps, mode]:
            ours(size, int(batch), int(steps), mode)
        case ["theirs", size, batch, steps, rank, count]:
            theirs(size, int(batch), int(steps), int(rank), int(count))
        case ["sent", size, steps]:
            sent(size, int(steps))
        case ["exchanges"]:
            exchanges()
        case _:
            main()
