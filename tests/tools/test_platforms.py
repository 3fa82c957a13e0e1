"""Locks are resolved for every platform of CI; what has no wheel is named."""

import json
import subprocess
from pathlib import Path

import pytest
from tools import platforms

pytestmark = pytest.mark.once


def test_what_cannot_be_resolved_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        fails = "x86_64-pc-windows-msvc" in command and "3.15" in command
        return subprocess.CompletedProcess(command, int(fails), "", "error: no\n  wheel" if fails else "")

    monkeypatch.setattr(platforms.subprocess, "run", run)
    assert platforms.main([json.dumps({"cli": ["3.11"], "lint": ["3.11", "3.15"]})], tmp_path) == 1
    assert capsys.readouterr().out == f"{tmp_path / 'lint'}.txt on Windows x86-64, Python 3.15: error: no wheel\n"
    assert len(commands) == 3 * len(platforms.PLATFORMS)
    assert all("--dry-run" in command and "--require-hashes" in command for command in commands)
    assert platforms.main([json.dumps({"cli": ["3.11"]})], tmp_path) == 0
    assert "every package of 1 locks has a wheel on Linux x86-64, Linux ARM, macOS ARM, Windows x86-64" in capsys.readouterr().out
