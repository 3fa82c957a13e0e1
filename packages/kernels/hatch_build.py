"""Compile the C sources into the wheel: a shared library for each CPU level of the target.

The compiler is that of the `ziglang` package, so every machine can build for every target, and gets the same bytes. Without
it, or for a target that is not in `TARGETS`, the wheel is made without a library, for any platform.

    python packages/kernels/hatch_build.py              put the libraries for this machine into the source tree
    python packages/kernels/hatch_build.py --sanitize undefined
                                                        the same, but undefined behavior ends the process
    python packages/kernels/hatch_build.py --sanitize address
                                                        the same by gcc, with its AddressSanitizer, which has to be preloaded
    python packages/kernels/hatch_build.py --targets    list the targets
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path(__file__).parent / "src/samebits/kernels"

# Part of the arithmetic: nothing is fused or reordered. Without the third and fourth, loops with divisions stay scalar.
ARITHMETIC = ("-O3", "-ffp-contract=off", "-fno-fast-math", "-fno-trapping-math", "-fno-math-errno")
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror")
# No C library, and nothing in the file that depends on where it was built.
FREESTANDING = ("-shared", "-s", "-ffreestanding", "-fno-stack-protector", "-fno-ident")
# Beyond a page, Windows wants a function of its C library called at the beginning of a function.
UNCHECKED = ("-fno-sanitize=undefined", "-Wframe-larger-than=4096")
UNDEFINED = ("-fsanitize=undefined", "-fsanitize-trap=undefined")
# No function is called from another library, so it does not matter how gcc passes vectors.
ADDRESS = ("-O1", "-g", "-shared", "-fPIC", "-fsanitize=address", "-Wno-psabi")

LEVELS = {
    "x86_64": {
        "baseline": ("-mcpu=x86_64",),
        "avx2": ("-mcpu=x86_64_v3",),
        "avx512": ("-mcpu=x86_64_v4", "-mprefer-vector-width=512"),
    },
    "aarch64": {"baseline": ()},
}


@dataclass(frozen=True)
class Target:
    """An operating system and a processor, as the compiler and as wheels name them."""

    triple: str
    tag: str
    suffix: str
    flags: tuple[str, ...] = ("-nostdlib",)


TARGETS = {
    "linux-x86_64": Target(
        "x86_64-linux-musl", "manylinux_2_5_x86_64.manylinux1_x86_64.musllinux_1_1_x86_64", "so", ("-nostdlib", "-fPIC")
    ),
    "linux-aarch64": Target(
        "aarch64-linux-musl", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64", "so", ("-nostdlib", "-fPIC")
    ),
    "macos-x86_64": Target("x86_64-macos.11.0", "macosx_11_0_x86_64", "dylib", ("-Wl,-install_name,samebits",)),
    "macos-aarch64": Target("aarch64-macos.11.0", "macosx_11_0_arm64", "dylib", ("-Wl,-install_name,samebits",)),
    "windows-x86_64": Target("x86_64-windows-gnu", "win_amd64", "dll"),
    "windows-aarch64": Target("aarch64-windows-gnu", "win_arm64", "dll"),
}


def this_machine() -> str:
    """The target of this machine, as in `TARGETS` if it is one of them."""
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    return f"{system}-{ {'amd64': 'x86_64', 'arm64': 'aarch64'}.get(machine, machine) }"


def compiler() -> bool:
    """Whether the compiler is installed."""
    return importlib.util.find_spec("ziglang") is not None


def command(target: str, cpu: tuple[str, ...], check: str = "") -> list[str]:
    """What compiles a library of a target: the locked compiler, but gcc to check addresses, as the other has no AddressSanitizer."""
    if check == "address":  # gcc writes the CPU levels as x86-64-v3
        levels = [flag.replace("-mcpu=x86_64", "-march=x86-64").replace("_v", "-v") for flag in cpu]
        return ["gcc", *levels, *ARITHMETIC, *STRICT, *ADDRESS]
    chosen, checks = TARGETS[target], UNDEFINED if check == "undefined" else UNCHECKED
    flags = [*cpu, *ARITHMETIC, *STRICT, *FREESTANDING, *checks, *chosen.flags]
    return [sys.executable, "-m", "ziglang", "cc", "-target", chosen.triple, *flags]


def build(target: str, folder: Path, check: str = "") -> None:
    """Compile the libraries of a target into an empty folder, with a list of them that `samebits.kernels` checks on loading."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    libraries = {}
    sources = sorted(path.name for path in (PACKAGE / "c").glob("*.c"))
    for level, cpu in LEVELS[target.split("-")[1]].items():
        name = f"{level}.{TARGETS[target].suffix}"
        output = ["-o", str(folder.resolve() / name)]
        subprocess.run([*command(target, cpu, check), *output, *sources], cwd=PACKAGE / "c", check=True)
        libraries[level] = {"file": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}
    for extra in [*folder.glob("*.pdb"), *folder.glob("*.lib")]:
        extra.unlink()
    contents = {"target": target, "sources": sources_digest(), "libraries": libraries}
    (folder / "libraries.json").write_bytes(json.dumps(contents, indent=1).encode() + b"\n")


def sources_digest() -> str:
    """The digest of the C sources, by `samebits.kernels.library` itself, which cannot be imported where NumPy is not installed."""
    spec: Any = importlib.util.spec_from_file_location("library", PACKAGE / "library.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    digest: str = module.sources_digest()
    return digest


class CustomBuildHook(BuildHookInterface[Any]):
    """Compile for SAMEBITS_TARGET, one of `TARGETS` or ``any``, by default this machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        target = os.environ.get("SAMEBITS_TARGET") or this_machine()
        folder = Path(self.directory).resolve() / f".libraries-{target}"
        if version == "editable" or target not in TARGETS or not compiler():
            return
        build(target, folder)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{TARGETS[target].tag}"
        for path in sorted(folder.iterdir()):
            build_data["force_include"][str(path)] = f"samebits/kernels/_libraries/{path.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del version, build_data, artifact_path
        for folder in Path(self.directory).resolve().glob(".libraries-*"):
            shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Put the libraries for this machine into the source tree.")
    parser.add_argument("--sanitize", choices=("undefined", "address"), default="", help="check for such errors at run time")
    parser.add_argument("--targets", action="store_true", help="only list the targets")
    arguments = parser.parse_args()
    if arguments.targets:
        print(*TARGETS)
    else:
        build(this_machine(), PACKAGE / "_libraries", arguments.sanitize)
