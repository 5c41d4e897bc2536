"""Connect: a standalone Kafka Connect worker with one connector, on our Java runtime; what Debezium's peers run in."""

from __future__ import annotations

from pathlib import Path

from ops.embedded.broker_settings import LOGGING
from ops.embedded.jars import class_path
from ops.embedded.kafka import java
from ops.embedded.program import Program, Running, free_ports, launch
from schemas.log.kafka import Kafka

_WORKER = """\
bootstrap.servers={kafka.bootstrap}
{login}offset.storage.file.filename={directory}/offsets
listeners=http://127.0.0.1:{port}
plugin.discovery=only_scan
{further}"""


def start(
    directory: Path, *, name: str, kafka: Kafka, side: str, lock_file: Path, worker: str, connector: str
) -> Running:
    """Start it; the caller stops what is returned. `worker` and `connector` are lines of properties.

    The connector is a `producer` or a `consumer`, its `side`, which has our login as Connect's own topics do.
    """
    directory.mkdir(parents=True, exist_ok=True)
    [port] = free_ports(1)
    login = {key: value for key, value in kafka.java().items() if key != "bootstrap.servers"}
    lines = "".join(f"{prefix}{key}={value}\n" for prefix in ("", f"{side}.") for key, value in login.items())
    files = [directory / f"{part}.properties" for part in ("worker", "connector", "log4j2")]
    text = _WORKER.format(kafka=kafka, login=lines, directory=directory, port=port, further=worker)
    for file, content in zip(files, (text, connector, LOGGING), strict=True):
        file.write_text(content)
    jars = ":".join(str(jar) for jar in class_path(lock_file))
    options = ["-Xms512m", "-Xmx1g", f"-Dlog4j2.configurationFile={files[2]}", "-cp", jars]
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    argv = [java(), *options, main, str(files[0]), str(files[1])]
    return launch(Program(name=name, argv=argv, log=directory / f"{name}.log", stop_within_seconds=15))
