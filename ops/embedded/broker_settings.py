"""The embedded broker's settings: what stands in the files that Kafka reads as it starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.embedded.broker_logins import BROKER, BrokerLogins

LISTENERS = ("MESH", "SUBSCRIBERS", "CONTROLLER")
_PROTOCOL = "security.protocol"
_SESSION_MS = 7 * 24 * 3600 * 1000
_OVER_SESSION_MS = 1_000
"""Why a session lasts a week, and ends at once where the controller is alone: `EmbeddedKafka` (kafka.py)."""

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
BROKERS_LOGGING = """\
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
logger.refused.name=kafka.authorizer.logger
logger.refused.level=info
logger.brokers.name=org.apache.kafka.controller.ClusterControlManager
logger.brokers.level=${sys:brokers:-warn}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """`data` is where Kafka keeps its topics; `further` are listeners beside LISTENERS, with their own settings."""

    data: Path
    logins: BrokerLogins
    further: Mapping[str, Mapping[str, str]]

    @property
    def listeners(self) -> Sequence[str]:
        """The names of all listeners, in the order of their ports."""
        return [*LISTENERS, *self.further]

    def of_broker(self, ports: Sequence[int]) -> str:
        """The file of the broker, which is its own controller."""
        listeners = [f"{name}://127.0.0.1:{port}" for name, port in zip(self.listeners, ports, strict=True)]
        own = {
            "process.roles": "broker,controller",
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(listeners[:2] + listeners[3:]),
            "inter.broker.listener.name": "MESH",
        }
        return self._text(own, ports[2], _SESSION_MS)

    def of_controller(self, port: int) -> str:
        """The file of the controller alone, for which a broker's session is over at once."""
        own = {"process.roles": "controller", "listeners": f"CONTROLLER://127.0.0.1:{port}"}
        return self._text(own, port, _OVER_SESSION_MS)

    def _text(self, own: Mapping[str, str], controller_port: int, session_ms: int) -> str:
        settings = {
            **own,
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "broker.session.timeout.ms": str(session_ms),
            "log.dirs": str(self.data),
            "listener.name.mesh.plain.sasl.jaas.config": self.logins.jaas(BROKER, *self.logins.users),
            "listener.name.controller.plain.sasl.jaas.config": self.logins.jaas(BROKER),
            "listener.security.protocol.map": ",".join(f"{name}:{security}" for name, security in self._security()),
        }
        for name, further in self.further.items():
            settings |= {f"listener.name.{name.lower()}.{setting}": value for setting, value in further.items()}
        return "".join(f"{name}={value}\n" for name, value in settings.items()) + _SETTINGS

    def _security(self) -> Iterator[tuple[str, str]]:
        yield from ((name, "SASL_PLAINTEXT") for name in LISTENERS)
        yield from ((name, settings[_PROTOCOL]) for name, settings in self.further.items())
