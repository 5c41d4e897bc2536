"""Settings: where the mesh's servers are, for one directory.

One loader for every command. Each value comes from the environment, else from the `endpoints.json` that `mesh up` wrote:

| setting         | environment     | meaning                                        |
|-----------------|-----------------|------------------------------------------------|
| `kafka`         | `MESH_KAFKA`, … | the brokers, and the login there (schemas/log/kafka.py) |
| `registry`      | `MESH_REGISTRY` | URL of the Confluent-compatible schema registry |
| `hub_database`  | `MESH_DATABASE` | PostgreSQL address of the hub's own database   |
| `directory`     | `MESH_DIR`      | state, logs and connections of this mesh       |
| `webhook_networks` | `MESH_WEBHOOK_NETWORKS` | networks of an intranet that webhooks may reach, also by plain http |
| `has_ledger`    | `MESH_LEDGER`   | whether hops account for what they write and read; `off` leaves it |
| `is_guarded`    | `MESH_AUTH`     | whether the mesh's servers answer nobody without a token; `on` (ops/trust/entry.py) |
| `producer`      | `MESH_DELIVERY_TIMEOUT_SECONDS` | how long a record may wait for the broker before its writer starts over |

Addresses of departments' databases and of subscribers' sinks are secrets: they live as files of mode 0600 under
`<directory>/connections/source/` and `<directory>/connections/sink/`, or in the environment as
`MESH_CONNECTION_SOURCE_<AGENCY>_<NAME>` and `MESH_CONNECTION_SINK_<SUBSCRIBER>_<NAME>`; never on a topic, never in a log. What the
mesh mints itself (its key, hash keys, logins) lies in `connections/`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ops.host.private import fresh_private, write_private
from schemas.errors import Misconfigured
from schemas.guard.token import id_of, new_text
from schemas.log.kafka import Kafka
from schemas.registry.address import entered_by
from sinks.network import NETWORKS, Network, networks_of

DEFAULT_DIRECTORY = ".mesh"
DELIVERY_TIMEOUT = "MESH_DELIVERY_TIMEOUT_SECONDS"
LEDGER = "MESH_LEDGER"
AUTH = "MESH_AUTH"
TLS_CA = "MESH_TLS_CA"
SERVICE_TOKEN, SCRAPE_TOKEN = "service-token", "scrape-token"
OWN_TOKENS = {SERVICE_TOKEN: "000000000000", SCRAPE_TOKEN: "000000000001"}
"""What a process of the mesh enters the others by, and what reads their metrics, by their ids: none of those that are issued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a command needs to find the running mesh."""

    directory: Path
    kafka: Kafka
    registry: str = field(repr=False)
    """Its address, with a login where it asks for one (schemas/registry/address.py)."""
    hub_database: str = field(repr=False)
    kafka_sasl: str | None = None
    producer: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the hops' producers are to have beside their own settings (schemas/log/writer.py)."""
    webhook_networks: tuple[Network, ...] = ()
    has_ledger: bool = True
    is_guarded: bool = False


def endpoints(directory: Path) -> dict[str, Any]:
    """What `mesh up` wrote for this directory; empty when it never ran."""
    path = directory / "endpoints.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Misconfigured(str(path), f"is no JSON ({error})", fix="run `mesh down`, then `mesh up` again") from error


def load(directory: Path, hop: str = "") -> Settings:
    """Read the settings of a mesh directory, for a hop with its own login on Kafka, where it has one.

    Raises Misconfigured when the mesh is not up and nothing replaces it.
    """
    known = endpoints(directory)

    def setting(name: str, variable: str) -> str:
        value = os.environ.get(variable) or known.get(name)
        if not value:
            raise Misconfigured(
                str(directory),
                f"no mesh runs here (no {name})",
                fix=f"start one with `mesh up --dir {directory}`, or set {variable} to a server of yours",
            )
        return value

    return Settings(
        directory=directory,
        kafka=_kafka(known, setting("kafka", "MESH_KAFKA"), hop),
        registry=registry_login(directory, setting("registry", "MESH_REGISTRY")),
        hub_database=setting("hub_database", "MESH_DATABASE"),
        kafka_sasl=known.get("kafka_sasl"),
        producer=_producer(os.environ.get(DELIVERY_TIMEOUT)),
        webhook_networks=networks_of(os.environ.get(NETWORKS, "")),
        has_ledger=_is_on(LEDGER, default="on"),
        is_guarded=is_guarded(),
    )


def load_as_command(directory: Path) -> Settings:
    """The same, entered as the commands of this host enter, also in a hop whose environment names its own login.

    What `mesh up` wrote down goes before the environment; where it wrote no login, as where the hop runs by itself, the environment
    counts. Raises Misconfigured.
    """
    settings = load(directory)
    login = endpoints(directory).get("kafka_login")
    return replace(settings, kafka=Kafka.of(login)) if login else settings


def _is_on(variable: str, default: str = "off") -> bool:
    word = os.environ.get(variable) or default
    if word not in {"on", "off"}:
        raise Misconfigured(variable, f"cannot be {word}", fix="leave it unset, or say `on` or `off`")
    return word == "on"


def _kafka(known: Mapping[str, Any], bootstrap: str, hop: str) -> Kafka:
    """The environment's brokers and login; where it names none, those that `mesh up` wrote down."""
    settings = os.environ if os.environ.get("MESH_KAFKA") else known.get("kafka_login", {})
    return Kafka.of({**settings, "MESH_KAFKA": bootstrap}, hop)


Side = Literal["", "source", "sink"]
"""Whose secret it is: an agency's, a subscriber's, or (empty) one that the mesh mints."""


def variable_of(owner: str, name: str, side: Side = "") -> str:
    """The environment's name for a secret."""
    parts = (side, owner, name) if side else (owner, name)
    return "MESH_CONNECTION_" + re.sub(r"\W", "_", "_".join(parts)).upper()


def _producer(delivery_timeout_seconds: str | None) -> Mapping[str, str]:
    if not delivery_timeout_seconds:
        return {}
    fix = "leave it unset, or give seconds, such as 120"
    try:
        timeout_ms = round(float(delivery_timeout_seconds) * 1000)
    except ValueError as error:
        raise Misconfigured(DELIVERY_TIMEOUT, "is no number of seconds", fix=fix) from error
    if not 1_000 <= timeout_ms <= 900_000:
        raise Misconfigured(DELIVERY_TIMEOUT, "must be from 1 to 900 seconds", fix=fix)
    return {"delivery.timeout.ms": str(timeout_ms), "request.timeout.ms": str(min(timeout_ms, 30_000))}


@dataclass(frozen=True, slots=True)
class Connections:
    """The addresses of departments' databases and subscribers' sinks, kept apart from everything that is shared.

    An agency and a subscriber may have one code, and a source and a sink one name: each side has a place of its own. As it
    comes, this is the place of what the mesh mints.
    """

    directory: Path
    side: Side = ""

    @property
    def sources(self) -> Connections:
        """Addresses of agencies' sources."""
        return replace(self, side="source")

    @property
    def sinks(self) -> Connections:
        """Addresses and signing keys of subscribers' sinks."""
        return replace(self, side="sink")

    def _path(self, owner: str, name: str) -> Path:
        return self.directory / "connections" / self.side / f"{owner}.{name}"

    def address_of(self, owner: str, name: str) -> str:
        """The address of one source or sink. Raises Misconfigured when nobody gave one."""
        variable = variable_of(owner, name, self.side)
        path = self._path(owner, name)
        if address := os.environ.get(variable):
            return address
        if path.is_file():
            return path.read_text().strip()
        fix = f"give it `connection:` and onboard again, or set {variable}"
        if self.side and os.environ.get(variable_of(owner, name)):
            former = variable_of(owner, name)
            problem = (
                f"has no address: {former} is set, which once served sources and sinks alike, and may be the other's"
            )
            raise Misconfigured(f"{owner}.{name}", problem, fix=f"rename {former} to {variable}")
        if self.side and self._former(owner, name).is_file():
            problem = f"has no address: connections/{owner}.{name} once served sources and sinks alike, and may be the other's"
            raise Misconfigured(f"{owner}.{name}", problem, fix=f"{fix}; then remove connections/{owner}.{name}")
        raise Misconfigured(f"{owner}.{name}", "has no address", fix=fix)

    def _former(self, owner: str, name: str) -> Path:
        return self.directory / "connections" / f"{owner}.{name}"

    def save(self, owner: str, name: str, address: str) -> None:
        """Keep an address where only this user reads it."""
        write_private(self._to_be_kept(owner, name), address)

    def _to_be_kept(self, owner: str, name: str) -> Path:
        path = self._path(owner, name)
        for folder in (self.directory / "connections", path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def remove(self, owner: str, name: str) -> None:
        """Forget an address, if it is kept."""
        self._path(owner, name).unlink(missing_ok=True)

    def forget(self, owner: str) -> None:
        """Forget all addresses and keys that this side keeps of an owner; codes hold no dot."""
        for path in self._path(owner, "").parent.glob(f"{owner}.*"):
            path.unlink(missing_ok=True)

    def kept(self, owner: str, name: str) -> str | None:
        """What is kept under this name, whatever the environment says; None if nothing is."""
        try:
            return self._path(owner, name).read_text().strip()
        except FileNotFoundError:
            return None

    def save_new(self, owner: str, name: str, secret: str) -> None:
        """Keep a secret unless there is one: of those who come at once, one is first, and the others keep theirs to themselves."""
        path = self._to_be_kept(owner, name)
        fresh = fresh_private(path, secret)
        try:
            with suppress(FileExistsError):
                path.hardlink_to(fresh)
        finally:
            fresh.unlink()


def is_guarded() -> bool:
    """Whether the mesh's servers answer nobody without a token."""
    return _is_on(AUTH)


def registry_login(directory: Path, url: str) -> str:
    """The registry's address with what a process of this mesh enters it by."""
    token = own_token(directory, SERVICE_TOKEN) if is_guarded() else ""
    return entered_by(url, token, os.environ.get(TLS_CA, ""))


def own_token(directory: Path, name: str) -> str:
    """One of OWN_TOKENS, minted where it is first needed. Raises Misconfigured for what is given in its place and is none."""
    connections, owner = Connections(directory), "mesh"
    text = os.environ.get(variable_of(owner, name)) or connections.kept(owner, name)
    if not text:
        connections.save_new(owner, name, new_text(OWN_TOKENS[name])[1])
        text = connections.kept(owner, name) or ""
    if id_of(text.strip()) != OWN_TOKENS[name]:
        fix = f"copy connections/{owner}.{name} from where the mesh was started, or set {variable_of(owner, name)} to its text"
        raise Misconfigured(f"{owner}.{name}", "is no token of the mesh's own", fix=fix)
    return text.strip()


def known_token(directory: Path, name: str) -> str:
    """The same where it was minted already; else nothing."""
    return os.environ.get(variable_of("mesh", name)) or Connections(directory).kept("mesh", name) or ""


def scrape_token_file(directory: Path) -> Path | None:
    """The file with the token that Prometheus has to bring; None where authentication is off."""
    if not is_guarded():
        return None
    own_token(directory, SCRAPE_TOKEN)
    return directory / "connections" / f"mesh.{SCRAPE_TOKEN}"
