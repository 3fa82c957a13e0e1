"""The environment variables that locked environments are made and used with.

Where files come from (an index, a mirror, a proxy, certificates, a cache) may be set on any machine, since every file is checked
against its hash. What changes where packages go, which are chosen, or what Python imports is removed: ``PIP_TARGET``,
``UV_CONSTRAINT``, ``PYTHONPATH`` and similar variables, and pip's configuration files, which can say the same.

Standard library only, without newer syntax: the launcher imports it, also on a Python that is too old for the rest.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Mapping

__all__ = ["cleaned", "pip_settings"]

# settings of pip and uv that are kept: sources, network, cache
_PIP = {
    "INDEX_URL",
    "EXTRA_INDEX_URL",
    "FIND_LINKS",
    "NO_INDEX",
    "CERT",
    "CLIENT_CERT",
    "PROXY",
    "TRUSTED_HOST",
    "KEYRING_PROVIDER",
}
_PIP |= {"DEFAULT_TIMEOUT", "TIMEOUT", "RETRIES", "CACHE_DIR", "NO_CACHE_DIR", "DISABLE_PIP_VERSION_CHECK", "CONFIG_FILE"}
_UV = {"INDEX", "DEFAULT_INDEX", "INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "INDEX_STRATEGY", "KEYRING_PROVIDER"}
_UV |= {
    "OFFLINE",
    "CACHE_DIR",
    "NO_CACHE",
    "LINK_MODE",
    "SYSTEM_CERTS",
    "NATIVE_TLS",
    "INSECURE_HOST",
    "CONFIG_FILE",
    "NO_CONFIG",
}
_UV |= {"HTTP_TIMEOUT", "REQUEST_TIMEOUT", "HTTP_CONNECT_TIMEOUT", "HTTP_RETRIES", "NO_PROGRESS", "CREDENTIALS_DIR"}
_UV_FAMILIES = ("INDEX_", "CONCURRENT_", "PYTHON_INSTALL", "PYTHON_DOWNLOADS", "PYTHON_CACHE", "CPYTHON_", "PYPY_")
_PYTHON = {"PATH", "HOME", "USERBASE", "STARTUP", "SAFEPATH", "OPTIMIZE", "PLATLIBDIR", "EXECUTABLE", "INSPECT", "WARNINGS"}
_FAMILIES = ("VIRTUALENV_", "PYTEST_", "HATCH_")  # options of the programs that sessions run


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``environment`` that may stay, as a new dictionary."""
    return {name: value for name, value in environment.items() if _stays(name.upper())}


def _stays(name: str) -> bool:
    if name.startswith("PIP_"):
        return name[4:] in _PIP
    if name.startswith("UV_"):
        return name[3:] in _UV or name[3:].startswith(_UV_FAMILIES)
    if name.startswith("PYTHON"):
        return name[6:] not in _PYTHON
    return not name.startswith(_FAMILIES) and name != "__PYVENV_LAUNCHER__"


def pip_settings(python: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for pip with the kept settings of its configuration files, which are not read again.

    Args:
        python: The interpreter that has pip.
        environment: The variables that pip is started with.
    """
    command = [python, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listing = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    found = {}
    for section in ("global", "install", ":env:"):  # the later one has precedence
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.+?)\r?$", listing.decode("utf-8", "replace"), re.MULTILINE):
            variable = name.upper().replace("-", "_")
            if variable in _PIP and variable != "CONFIG_FILE":
                found[f"PIP_{variable}"] = str(ast.literal_eval(value)).replace("\n", " ")
    return found
