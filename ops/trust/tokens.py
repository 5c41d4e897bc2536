"""Tokens (令牌): issued, listed and revoked by commands; every server of the mesh follows them, on whatever host.

The text of a token is shown once, by the command that issues it, and kept nowhere. Issuing and revoking are audit lines.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import click

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.host.private import write_private
from ops.known_names import did_you_mean
from ops.settings import AUTH, Settings
from ops.trust.audit import audit
from ops.trust.login import login_name
from schemas.errors import Misconfigured
from schemas.feed import TOKENS
from schemas.form import Between, Seconds, read
from schemas.guard.caller import ALL, Role, agency_of
from schemas.guard.token import Token, digest_of, new_text
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish, read_all
from schemas.log.control.token_follower import IDENTITY
from schemas.log.topics import ensure_control_topics

NEVER = "never"
WITHIN_SECONDS = 30.0
_YEAR_SECONDS = 366 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token, with its text: nobody can show that again."""

    token: Token
    text: str = field(repr=False)
    is_guarded: bool
    file: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**self.token.shown(), **({"file": str(self.file)} if self.file else {"token": self.text})}

    def render(self) -> None:
        """For people: the text alone on standard output, unless it is in a file; about it on standard error."""
        until = f"until {self.token.expires_at:%Y-%m-%d %H:%M} UTC" if self.token.expires_at else "until it is revoked"
        where = f"it is in {self.file}" if self.file else "it is shown this once:"
        click.echo(f"token {self.token.id}, {_told(self.token)}, {until}; {where}", err=True)
        if self.file is None:
            click.echo(self.text)
        if not self.is_guarded:
            click.echo(f"note: servers ask for tokens only where {AUTH}=on is set", err=True)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens as they may be seen."""

    tokens: Sequence[Token]
    now: datetime

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"tokens": [{**token.shown(), "state": token.state(self.now)} for token in self.tokens]}

    def render(self) -> None:
        """For people."""
        for token in self.tokens:
            until = f"{token.expires_at:%Y-%m-%d}" if token.expires_at else NEVER
            click.echo(f"{token.id}  {token.state(self.now):8}  {until:10}  {_told(token)}")


@dataclass(frozen=True, slots=True)
class _Life:
    expires: Annotated[Seconds, Between(1, 5 * _YEAR_SECONDS)]


def _told(token: Token) -> str:
    agencies = "all agencies" if ALL in token.agencies else ", ".join(sorted(token.agencies))
    return f"{token.role} of {agencies}" + (f", for {token.name}" if token.name else "")


@refusals_told("token issue")
def issue_token(
    settings: Settings, role: str, agencies: Collection[str], name: str, expires: str, file: Path | None = None
) -> Issued:
    """A token of this role for these agencies, or ALL; its text goes to `file`, if one is given, for this user alone.

    Raises Misconfigured for agencies that are not here, for none, and for a file that cannot be written.
    """
    ensure_control_topics(settings.kafka)
    _must_be_here(settings, role, agencies)
    now = datetime.now(UTC)
    ends_at: datetime | None = None
    if expires != NEVER:
        ends_at = now + timedelta(seconds=read(_Life, {"expires": expires}, "token").expires)
    token_id, text = new_text()
    token = Token(
        id=token_id,
        digest=digest_of(text),
        role=Role(role),
        agencies=frozenset(agencies),
        name=name,
        issued_at=now,
        issued_by=login_name(),
        expires_at=ends_at,
    )
    if file is not None:  # first: a token whose text is nowhere would be nobody's
        try:
            write_private(file, f"{text}\n")
        except OSError as error:
            fix = "name a file in a folder of this user's"
            raise Misconfigured(f"token file {file}", f"cannot be written ({error.strerror})", fix=fix) from error
    with closing(AuditedLog(settings.kafka, client_id="mesh-token")) as log:
        publish(log.append, TOKENS, token.id, token.to_json())
        about = {"role": token.role.value, "agencies": sorted(token.agencies), "name": name}
        audit(log.append, "token issued", token.id, **about, expires_at=ends_at and ends_at.isoformat())
        log.flush(WITHIN_SECONDS)
    return Issued(token, text, settings.is_guarded, file)


def _must_be_here(settings: Settings, role: str, agencies: Collection[str]) -> None:
    if not agencies:
        fix = "say `--agency <code>`, as often as there are some, or `--all-agencies`"
        raise Misconfigured("token", "would be for no agency", fix=fix)
    if ALL in agencies:
        if role == Role.SUBSCRIBER:
            fix = "say `--agency <code of the subscriber>`"
            raise Misconfigured("token", "a subscriber's is for what that one is granted, not for everybody's", fix=fix)
        return
    directory = read_directory(settings.kafka)
    known = {*directory.agencies, *directory.subscribers, *map(agency_of, directory.feeds)}
    for code in agencies:
        if code not in (directory.subscribers if role == Role.SUBSCRIBER else known):
            what = "subscriber" if role == Role.SUBSCRIBER else "agency"
            fix = did_you_mean(code, known, "`mesh onboard` it first; `mesh catalogue` shows who is here")
            raise Misconfigured(f"{what} {code}", "is not here", fix=fix)


def list_tokens(settings: Settings) -> Tokens:
    """Every token that was issued, oldest first."""
    return Tokens(sorted(_read(settings).values(), key=lambda token: token.issued_at), datetime.now(UTC))


@refusals_told("token revoke")
def revoke_token(settings: Settings, token_id: str) -> Tokens:
    """Revoke one, for good: within seconds no server takes it, and streams that it opened end. Safe to repeat.

    Raises Misconfigured when there is none of this id.
    """
    known = _read(settings)
    token, now = known.get(token_id), datetime.now(UTC)
    if token is None:
        raise Misconfigured(f"token {token_id}", "is not here", fix=did_you_mean(token_id, known, "`mesh token list`"))
    if token.revoked_at is None:
        token = replace(token, revoked_at=now)
        with closing(AuditedLog(settings.kafka, client_id="mesh-token")) as log:
            publish(log.append, TOKENS, token.id, token.to_json())
            audit(log.append, "token revoked", token.id)
            log.flush(WITHIN_SECONDS)
    return Tokens([token], now)


@dataclass(frozen=True, slots=True)
class RevokedIdentity:
    """Somebody whom the identity provider knows, and whose tokens of until now are no longer good."""

    identity: str
    revoked_at: datetime

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"identity": self.identity, "revoked_at": self.revoked_at.isoformat()}

    def render(self) -> None:
        """For people."""
        click.echo(f"{self.identity}: what the identity provider gave it until now is no longer good here")


@refusals_told("identity revoke")
def revoke_identity(settings: Settings, subject: str) -> RevokedIdentity:
    """Take no token that the identity provider gave this subject (`sub`) until now; what it gives later is good."""
    ensure_control_topics(settings.kafka)
    revoked = RevokedIdentity(f"oidc {subject}"[:200], datetime.now(UTC))
    with closing(AuditedLog(settings.kafka, client_id="mesh-token")) as log:
        publish(log.append, TOKENS, f"{IDENTITY}{revoked.identity}", {"revoked_at": revoked.revoked_at.isoformat()})
        audit(log.append, "identity revoked", revoked.identity)
        log.flush(WITHIN_SECONDS)
    return revoked


def _read(settings: Settings) -> dict[str, Token]:
    ensure_control_topics(settings.kafka)
    records = {key: record for _, key, record in read_all(settings.kafka, (TOKENS,)) if not key.startswith(IDENTITY)}
    return {key: Token.from_json(record) for key, record in records.items() if record is not None}
