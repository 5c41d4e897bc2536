"""A real Prometheus over a running mesh: its own program, the mesh's generated configuration, with short intervals."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.stage.until import until

STARTS_WITHIN_SECONDS = 60
TRIES = 5
"""A port that is free now may be another's a moment later."""
_RANGE = re.compile(r"(?<=\[)(\w+)(?=\])|(?<=\boffset )(\w+)")
_PARTS = re.compile(r"(\d+)(ms|[smhdw])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    assert found, f"{name} is not installed; on Debian and Ubuntu: apt-get install --no-install-recommends prometheus"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One series of an answer, at its newest moment."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """One that runs, and what it says."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API. A query that it cannot read fails with its own words."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expr: str) -> list[Sample]:
        """What a query gives now; what is no number is no data, as in Grafana."""
        data = self.ask("query", query=expr)
        pairs = [({}, data["result"])] if data["resultType"] == "scalar" else _pairs(data["result"])
        samples = [Sample(labels=labels, value=float(value)) for labels, (_, value) in pairs]
        return [sample for sample in samples if not math.isnan(sample.value)]

    def values(self, expr: str) -> list[str]:
        """What Grafana's `label_values(<series>, <label>)` gives."""
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", expr)
        assert found, expr
        return self.ask(f"label/{found[2]}/values", **{"match[]": found[1]})

    def firing(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Names and labels of the alerts that fire now."""
        return {
            (alert["labels"]["alertname"], frozenset(alert["labels"].items()))
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }


def _pairs(result: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, str], Any]]:
    return [(series["metric"], series["value"]) for series in result]


@contextmanager
def prometheus_over(mesh: Path, folder: Path, *, faster: float = 1) -> Iterator[Prometheus]:
    """Prometheus as its users start it, by `prometheus/prometheus.yml` of a mesh's directory, but looking every second.

    `faster`: by how much the rules' own spans (`for`, ranges, offsets) are shortened, never their thresholds.
    """
    config = yaml.safe_load((mesh / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        for files in job["file_sd_configs"]:
            files["files"] = [str(mesh / "prometheus" / name) for name in files["files"]]
            files["refresh_interval"] = "1s"
    rules = folder / "rules.yml"
    rules.write_text(shortened((mesh / "prometheus" / "alerts.yml").read_text(), faster))
    config["rule_files"] = [str(rules)]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    process, url = _started(path, folder)
    try:
        yield Prometheus(url=url)
    finally:
        process.terminate()
        process.wait(30)


def _started(config: Path, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    for _ in range(TRIES):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        process = _launched(config, folder, address)
        if process.poll() is None:
            return process, f"http://{address}"
    raise AssertionError(f"Prometheus does not start: {_said(folder)}")


def _launched(config: Path, folder: Path, address: str) -> subprocess.Popen[bytes]:
    """One that is ready, or has ended."""
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    until(
        lambda: process.poll() is not None or _is_ready(f"http://{address}"),
        STARTS_WITHIN_SECONDS,
        f"Prometheus is ready or has ended; its log: {folder / 'prometheus.log'}",
    )
    return process


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _said(folder: Path) -> str:
    return (folder / "prometheus.log").read_text()[-2000:]


def shortened(rules: str, faster: float) -> str:
    """The rules with every span of time divided by `faster`, none under two seconds: two looks."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule["expr"] = _RANGE.sub(lambda found: _shorter(found[0], faster), rule["expr"])
            if "for" in rule:
                rule["for"] = _shorter(rule["for"], faster)
    return yaml.safe_dump(document)


def _shorter(span: str, faster: float) -> str:
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PARTS.findall(span))
    return f"{max(2, math.ceil(seconds / faster))}s"
