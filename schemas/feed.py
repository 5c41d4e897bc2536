"""Feed: the only way to name a topic.

| pattern                   | use                                                           |
|---------------------------|---------------------------------------------------------------|
| `<agency>.<table>`        | captured table                                                |
| `base.<entity>`           | shared archives                                               |
| `<flow>.<event>`          | output of a flow                                              |
| `out.<grant_id>`          | what one grant delivers: projected, filtered, masked          |
| `out.<grant_id>-<edition>`| the same, once it had to be delivered anew from the beginning |
| `ends.<subscriber>.<sink>`| ends of grants, told to a subscriber that reads its topics itself |
| `dlq.<topic>`             | what could not be taken from, or for, that topic              |
| `mesh.<control>`          | control records, JSON, compacted                              |

A grant's id is `<subscriber>.<feed>`, or `<subscriber>.<feed>.<purpose>` for a second purpose on the same feed, so an
`out` topic reads `out.<subscriber>.<agency>.<table>`.
"""

from __future__ import annotations

import re

from schemas.errors import Misconfigured

AGENCIES = "mesh.agencies"
CONTRACTS = "mesh.contracts"
SUBSCRIBERS = "mesh.subscribers"
GRANTS = "mesh.grants"
CAPTURE = "mesh.capture"  # how far each source is durably captured (producers)
EGRESS = "mesh.egress"  # from which offset each grant is live (streams)
FLOW_INBOX = "mesh.flows"  # messages to the subjects of flows; a partition is a task (streams/operators)
FLOW_STATE = "mesh.flow_state"  # the changelog of the tasks' state, same partitions
FLOW_INTAKE = "mesh.flow_intake"  # which flows have the past of which partitions (streams/engine/time/past.py)
ANCHORS = "mesh.anchors"  # the keys of other meshes that are trusted here (schemas/agreement/anchor.py)
IDENTITY = "mesh.identity"  # what this mesh says of itself to others (schemas/agreement/identity.py)
INCIDENTS = "mesh.incidents"  # what stands still, since when, why, and what to do (schemas/incident.py)
RESYNCS = "mesh.resyncs"  # the last request to copy a feed, or a source, anew (ops/onboarding/resync.py)
LETTERS = "mesh.letters"  # what became of dead letters: delivered again, superseded, dropped (ops/redelivery/dlq.py)
PAUSES = "mesh.pauses"  # what a person holds until a person lets it go on (schemas/agreement/pause.py)
STANDSTILLS = "mesh.standstills"  # sinks that only a person resumes (sinks/lane/standstill.py)
LOGINS = "mesh.logins"  # by what subscribers that read their topics themselves log in (ops/own_topic/logins.py)
REPLAYS = "mesh.replays"  # requests to deliver a grant again, until they are under way (ops/redelivery/replay.py)
ENDINGS = "mesh.endings"  # ends of grants, and that they were applied at the subscriber (schemas/agreement/ending.py)
OFFBOARDED = (
    "mesh.offboarded"  # what left for good, and what is left to be done for it (schemas/agreement/offboarding.py)
)
DECISIONS = "mesh.decisions"  # what officers decided of items on flows' queues (schemas/decision.py)
OBJECTIONS = "mesh.objections"  # fields that subscribers dispute, and the answers (schemas/agreement/objection.py)
REGISTRY = "_schemas"  # the schema registry's own, under the name that its clients expect
DELIVERED = "mesh.delivered"  # up to where the audit has what was delivered (ops/audit/windows.py)
LEDGER = "mesh.ledger"  # what each hop says it wrote and read (schemas/ledger/book.py)
TOKENS = "mesh.tokens"  # by what people and programs enter the mesh's servers (schemas/guard/token.py)
AUDIT = "mesh.audit"  # who did what and when; never compacted
CONTROL = (
    AGENCIES,
    CONTRACTS,
    SUBSCRIBERS,
    GRANTS,
    CAPTURE,
    EGRESS,
    FLOW_INTAKE,
    ANCHORS,
    IDENTITY,
    INCIDENTS,
    RESYNCS,
    LETTERS,
    REPLAYS,
    STANDSTILLS,
    PAUSES,
    LOGINS,
    ENDINGS,
    OFFBOARDED,
    DELIVERED,
    LEDGER,
    OBJECTIONS,
    DECISIONS,
    TOKENS,
    AUDIT,
)
PROGRESS = (CAPTURE, EGRESS, FLOW_INTAKE, REPLAYS, STANDSTILLS, INCIDENTS, LEDGER)
"""Those of the control topics that say where a hop stands: of a key, nobody asks for what was before."""

_FEED = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
RESERVED = frozenset({"out", "ends", "dlq", "mesh"})


def check_feed(name: str) -> str:
    """Return the name if it can name a feed; raise Misconfigured with the fix otherwise."""
    if not _FEED.fullmatch(name) or name.split(".", 1)[0] in RESERVED or len(name) > 120:
        raise Misconfigured(
            name,
            "is no feed name",
            fix="use <agency>.<table> in lower-case letters, digits and _, up to 120 characters; "
            f"{', '.join(sorted(RESERVED))} are reserved",
        )
    return name


def out_topic(grant_id: str, edition: int = 1) -> str:
    """The topic that carries what one grant allows; from the second edition on its number is part of the name."""
    return f"out.{grant_id}" if edition == 1 else f"out.{grant_id}-{edition}"


def ends_topic(subscriber: str, sink: str) -> str:
    """The topic on which a subscriber that reads its topics itself learns of the ends of its grants."""
    return f"ends.{subscriber}.{sink}"


def is_out_topic(topic: str) -> bool:
    """Whether the topic carries what a grant allows."""
    return topic.startswith("out.")


def is_feed(topic: str) -> bool:
    """Whether the topic is a feed's."""
    return topic.partition(".")[0] not in RESERVED and topic != REGISTRY


def edition_of(topic: str) -> int:
    """The edition of an `out` topic, or of a feed's subjects; neither names of feeds nor ids of grants hold a dash."""
    _, _, number = topic.partition("-")
    return int(number) if number else 1


def later_edition(topic: str, edition: int) -> str:
    """The name of another edition of a first edition's topic, or of a feed's subjects."""
    return topic if edition == 1 else f"{topic}-{edition}"


def first_edition(topic: str) -> str:
    """The name of an `out` topic without its edition: what its rows are called at the subscriber's."""
    return topic.partition("-")[0]


def dead_letter_topic(topic: str) -> str:
    """The dead-letter twin of a topic."""
    return f"dlq.{topic}"


def key_subject(topic: str) -> str:
    """The registry subject of a topic's key (Confluent TopicNameStrategy)."""
    return f"{topic}-key"


def value_subject(topic: str) -> str:
    """The registry subject of a topic's value (Confluent TopicNameStrategy)."""
    return f"{topic}-value"
