"""Admission: at its onboarding a subscriber that reads its topics itself gets a login, and the right to read what is granted."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ops.kinds.sinks import SINKS
from ops.onboarding.running_mesh import RunningMesh
from ops.own_topic.logins import file_name, forget_login, mint, publish_login
from ops.own_topic.readers import Readers
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import Subscriber
from schemas.feed import IDENTITY, ends_topic
from schemas.log.rights.access import allow_read, create_scram_user
from schemas.log.rights.login import remove_login
from schemas.log.topics import TopicSpec, ensure_topics
from sinks.kind import is_read_itself

MINTED = "kafka"
"""Under which another mesh's password is kept with the connections."""


class Admission:
    """One subscriber's. Topics exist already. Collects notices."""

    def __init__(self, mesh: RunningMesh, subscriber: Subscriber) -> None:
        self._mesh = mesh
        self._kafka = mesh.settings.kafka
        self._subscriber = subscriber
        self._code = subscriber.subscriber
        self.notices: list[str] = []

    def admit(self, topics: Mapping[str, Grant], now: datetime) -> None:
        """Let it read the topics of these grants as far as they are active, and no other. Safe to repeat."""
        directory = self._with_logins(now)
        self._take_former_login()
        self._leave_out(directory)
        readers = Readers(kafka=self._kafka, directory=directory)
        for topic, grant in topics.items():
            if grant.is_active(now):
                self._note(readers.open(grant, [topic]).notice)
            else:
                readers.close(grant, [topic])
        known = [entry for entry in directory.grants.values() if entry.grant.subscriber == self._code]
        present = {grant.grant_id: topic for topic, grant in topics.items()}
        for entry in known:
            if entry.topic != present.get(entry.grant.grant_id, entry.topic):
                readers.close(entry.grant, [entry.topic])
        for login in directory.logins.values():  # also one without a grant reads of ends
            if login.subscriber == self._code:
                readers.allow(login.user, [])

    def _note(self, notice: str) -> None:
        if notice and notice not in self.notices:
            self.notices.append(notice)

    def _with_logins(self, now: datetime) -> Directory:
        """The directory with this subscriber as it is now, and with a login for each sink that it reads itself."""
        mesh, code = self._mesh, self._code
        logins = dict(mesh.directory.logins)
        for sink in self._subscriber.sinks:
            if not is_read_itself(sink, SINKS):
                continue
            ensure_topics(self._kafka, {ends_topic(code, sink.name): TopicSpec(partitions=1, is_compacted=False)})
            known = mesh.directory.logins_of(code, sink.name)
            if any(login.until is None for login in known):
                continue
            minted = mint(mesh.settings, code, sink.name, known, now)
            publish_login(mesh.log.append, minted.login, "login made", by="onboarding")
            mesh.log.flush(30)  # a user that has a right is on record
            logins[minted.login.user] = minted.login
            self.notices.append(
                f"{code}.{sink.name} is read by its subscriber itself: hand {minted.file} over, which holds its login"
            )
        subscribers = {**mesh.directory.subscribers, code: self._subscriber}
        return replace(mesh.directory, subscribers=subscribers, logins=logins)

    def _take_former_login(self) -> None:
        """Another mesh enters as the subscriber is called. Every subscriber once did; the others need it no more."""
        connections, code = self._mesh.connections, self._code
        kept = connections.kept(code, MINTED)
        own_groups = [f"sub.{code}.{sink.name}" for sink in self._subscriber.sinks if not sink.is_mesh]
        if len(own_groups) < len(self._subscriber.sinks):
            if kept is None:
                password = secrets.token_urlsafe(24)
                create_scram_user(self._kafka, code, password)
                connections.save(code, MINTED, password)
            self._note(allow_read(self._kafka, code, [IDENTITY], f"sub.{code}.", own_groups).notice)
        elif kept is not None:
            remove_login(self._kafka, code)
            connections.remove(code, MINTED)
            self.notices.append(
                f"the login {code} is removed: only who reads its topics itself has one, by a sink for that (README)"
            )

    def _leave_out(self, directory: Directory) -> None:
        """Logins of sinks that are there no more, or of another kind now."""
        read = {sink.name for sink in self._subscriber.sinks if is_read_itself(sink, SINKS)}
        for login in [
            each for each in directory.logins.values() if each.subscriber == self._code and each.sink not in read
        ]:
            remove_login(self._kafka, login.user)
            forget_login(self._mesh.log.append, login, "its sink is left out")
            self._mesh.connections.remove(self._code, file_name(login.sink))
