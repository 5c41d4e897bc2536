"""Refused: attempts that led to nothing are in the audit too (HANDBOOK A2), with what was asked for and why it was refused."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ops.audit.audited_log import AuditedLog
from ops.known_names import few
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.errors import ContractBroken, MeshError, Misconfigured

WITHIN_SECONDS = 30.0
NAME_MAX = 200
_LONG_NUMBER = re.compile(r"\d{11,}[0-9Xx]?")
_NAME = re.compile(r"[\w.@ :/,-]*")

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_logger = logging.getLogger(__name__)


def note(settings: Settings, what: str, subject: str, **details: Any) -> None:
    """One line by itself, durable on return: what is begun, or was refused. Raises Transient."""
    with closing(AuditedLog(settings.kafka, client_id="mesh-audit")) as log:
        audit(log.append, what, subject, **details)
        log.flush(WITHIN_SECONDS)


def refusals_told(
    what: str,
) -> Callable[[Callable[Concatenate[Settings, S, P], R]], Callable[Concatenate[Settings, S, P], R]]:
    """For what a command does: `what` it is, such as `replay`. Its second argument says of what."""

    def told(act: Callable[Concatenate[Settings, S, P], R]) -> Callable[Concatenate[Settings, S, P], R]:
        @wraps(act)
        def acting(settings: Settings, subject: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return act(settings, subject, *args, **kwargs)
            except (Misconfigured, ContractBroken) as error:
                tell(settings, what, name_of(subject), reason_of(error))
                raise

        return acting  # pyright: ignore[reportReturnType] -- its first two are given by place everywhere

    return told


def tell(settings: Settings, what: str, subject: str, reason: str, **details: Any) -> None:
    """That it was refused. Where the audit cannot be written the caller's own error is what counts: nothing was done."""
    try:
        note(settings, f"{what} refused", subject, reason=reason, **details)
    except MeshError as error:
        _logger.warning("a refused attempt is not in the audit: %s", error.problem)


def name_of(subject: object) -> str:
    """What a person named, as it may stand in the audit: whatever was typed, no number of a person is in it."""
    several: Iterable[object] = subject if isinstance(subject, list | tuple) else [subject]  # pyright: ignore[reportUnknownVariableType]
    text = few(filter(None, map(_one, several)))[:NAME_MAX]
    return without_numbers(text) if _NAME.fullmatch(text) else "(no name)"


def _one(subject: object) -> str:
    """A name as it is, a kind and a name, or what has one, such as a letter; of anything else nothing."""
    if isinstance(subject, tuple):
        return " ".join(filter(None, map(_one, subject)))  # pyright: ignore[reportUnknownArgumentType]
    name = subject if isinstance(subject, str) else getattr(subject, "name", "")
    return name if isinstance(name, str) else ""


def reason_of(error: MeshError) -> str:
    """Why, without the name of what was asked for, which stands beside it."""
    setting = getattr(error, "setting", getattr(error, "subject", ""))
    return without_numbers(error.problem.removeprefix(f"{setting}: "))


def without_numbers(text: str) -> str:
    """A text that a person typed, without what may be the number of somebody."""
    return _LONG_NUMBER.sub("…", text)
