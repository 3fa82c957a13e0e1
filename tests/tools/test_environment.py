"""Variables that change where packages go or what is imported are removed, and those that say where files come from stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools.environment import cleaned, pip_settings

pytestmark = pytest.mark.once

REMOVED = [
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_CONSTRAINT",
    "PIP_NO_DEPS",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_NO_BINARY",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONUSERBASE",
    "PYTHONOPTIMIZE",
    "PYTHONSAFEPATH",
    "PYTHONWARNINGS",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE_NEWER",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_NO_VERIFY_HASHES",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_NO_BINARY",
    "UV_BREAK_SYSTEM_PACKAGES",
    "VIRTUALENV_SYSTEM_SITE_PACKAGES",
    "PYTEST_ADDOPTS",
    "HATCH_BUILD_NO_HOOKS",
    "__PYVENV_LAUNCHER__",
]
KEPT = [
    "PATH",
    "HOME",
    "PIP_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_CERT",
    "PIP_PROXY",
    "PIP_CONFIG_FILE",
    "UV_OFFLINE",
    "UV_CACHE_DIR",
    "UV_DEFAULT_INDEX",
    "UV_SYSTEM_CERTS",
    "UV_INDEX_MINE_PASSWORD",
    "UV_LINK_MODE",
    "UV_PYTHON_DOWNLOADS",
    "UV_PYTHON_INSTALL_DIR",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "PYTHONUTF8",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "NPY_DISABLE_CPU_FEATURES",
    "CI",
]


@pytest.mark.parametrize("name", REMOVED)
def test_a_variable_that_changes_an_environment_is_removed(name: str) -> None:
    assert cleaned({name: "x", "CI": "1"}) == {"CI": "1"}


@pytest.mark.parametrize("name", KEPT)
def test_a_variable_that_names_a_source_or_is_of_others_stays(name: str) -> None:
    assert cleaned({name: "x"}) == {name: "x"}


def test_pips_files_are_read_for_sources_alone(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = file:///a\nno-deps = true\nextra-index-url =\n  file:///b\n  file:///c\n"
                    "[install]\nuser = true\ntarget = /tmp/x\nindex-url = file:///d\n")  # fmt: skip
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)  # uv's environments have no pip
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    found = pip_settings(str(python), {**cleaned(os.environ), "PIP_CONFIG_FILE": str(file), "PIP_RETRIES": "1"})
    assert found["PIP_INDEX_URL"] == "file:///d"
    assert found["PIP_EXTRA_INDEX_URL"].split() == ["file:///b", "file:///c"]
    assert found["PIP_RETRIES"] == "1"
    assert not {"PIP_USER", "PIP_TARGET", "PIP_NO_DEPS", "PIP_CONFIG_FILE"} & set(found)
