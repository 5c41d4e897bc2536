"""Prometheus' configuration in the mesh's directory, the alert rules (OP-06), and the list of processes it scrapes.

| file                                | written by                              | read by                                |
|-------------------------------------|-----------------------------------------|----------------------------------------|
| `prometheus/process/<process>.json` | the process, when it serves `/metrics`  | `mesh status`                          |
| `prometheus/targets.json`           | the same, from all of the above         | Prometheus (`file_sd_configs`)         |
| `prometheus/prometheus.yml`, `prometheus/alerts.yml` | `mesh up`              | Prometheus                             |

A process that ends in order takes its entry away. One that crashed keeps it, so that `up` turns 0 and an alert fires; its
successor overwrites the entry. The `instance` label is the process's name and not its port, so that a line in a graph goes on
over restarts.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import Misconfigured

JOB = "pearlmesh"
SCRAPE_INTERVAL = "5s"
RULES = Path(__file__).with_name("alerts.yml")
_PROCESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one process serves its metrics: a port on this machine's loopback address."""

    process: str
    port: int
    pid: int


def write_prometheus_config(directory: Path, credentials: Path | None = None) -> Path:
    """Write `prometheus/prometheus.yml` with the rules and targets beside it; returns its path. Safe to repeat.

    `credentials`: the file with the token that the processes ask for, where they do.

    Start Prometheus with `--config.file` on that path; it takes up new processes by itself. Entries of processes that an
    earlier run left behind are dropped.
    """
    home = directory / "prometheus"
    authorization = {"authorization": {"credentials_file": str(credentials.absolute())}} if credentials else {}
    config = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {
                "job_name": JOB,
                **authorization,
                "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "5s"}],
            }
        ],
    }
    path = home / "prometheus.yml"
    with _locked(directory):
        _replace(home / "alerts.yml", RULES.read_text())
        _replace(path, yaml.safe_dump(config, sort_keys=False))
        for target in targets(directory):
            if not is_alive(target.pid):
                _entry_path(directory, target.process).unlink(missing_ok=True)
        _write_targets(directory)
    return path


def register(directory: Path, process: str, port: int) -> Target:
    """Enter this process into the list of targets; an earlier entry of the same name is replaced."""
    if not _PROCESS.fullmatch(process):
        raise Misconfigured(
            f"process {process!r}",
            "is no process name",
            fix="use letters, digits, '.', '_' and '-', such as capture-police",
        )
    target = Target(process=process, port=port, pid=os.getpid())
    with _locked(directory):
        entry = {"process": target.process, "port": target.port, "pid": target.pid}
        _replace(_entry_path(directory, process), json.dumps(entry))
        _write_targets(directory)
    return target


def unregister(directory: Path, target: Target) -> None:
    """Take this process out of the list, unless a successor of the same name has entered itself already."""
    with _locked(directory):
        if target in _read_targets(directory):
            _entry_path(directory, target.process).unlink(missing_ok=True)
            _write_targets(directory)


def targets(directory: Path) -> list[Target]:
    """The processes that serve metrics, by name. Some may have crashed since."""
    return sorted(_read_targets(directory), key=lambda target: target.process)


def is_alive(pid: int) -> bool:
    """Whether a process of this number exists, of whatever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _entry_path(directory: Path, process: str) -> Path:
    return directory / "prometheus" / "process" / f"{process}.json"


def _read_targets(directory: Path) -> Iterator[Target]:
    for path in (directory / "prometheus" / "process").glob("[!.]*.json"):
        try:
            entry: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:  # its process has just ended
            continue
        yield Target(process=entry["process"], port=entry["port"], pid=entry["pid"])


def _write_targets(directory: Path) -> None:
    groups = [
        {"targets": [f"127.0.0.1:{target.port}"], "labels": {"instance": target.process}}
        for target in targets(directory)
    ]
    _replace(directory / "prometheus" / "targets.json", json.dumps(groups, indent=2))


def _replace(path: Path, text: str) -> None:
    """Write a whole file at once, so that no reader ever sees a part of it."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(text)
    fresh.replace(path)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    (directory / "prometheus" / "process").mkdir(parents=True, exist_ok=True)
    with (directory / "prometheus" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # closing the file releases it
        yield
