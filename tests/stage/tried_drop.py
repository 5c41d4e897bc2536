"""A drop tried twice over: as onboarding tries it, and as delivery works with it; both must say the same of what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pytest

from ops.kinds.sinks import SINKS
from schemas.errors import MeshError
from tests.stage.delivering import OutFeed, decimal
from tests.stage.receivers import Receiver

NAME = "甲"


def person(feed: OutFeed, number: int) -> Any:
    return feed.record("c", {"id": number, "name": NAME, "amount": decimal("1.50")})


def tried(receiver: Receiver, feed: OutFeed, **options: Any) -> None:
    trial = SINKS[receiver.kind].trial
    assert trial is not None
    trial(receiver.setup(feed, **options))


def worked(receiver: Receiver, feed: OutFeed, **options: Any) -> None:
    with closing(receiver.sink(SINKS, feed, **options)) as sink:
        sink.start_offsets([(feed.topic, 0)])
        sink.write([feed.batch(person(feed, 1))])


def refused_both_ways(
    receiver: Receiver, feed: OutFeed, kind: type[MeshError], *, unsaid: Iterable[str], **options: Any
) -> MeshError:
    """What onboarding is told, and delivery too, in the same words; none of them is a secret, or a value of a row."""
    with pytest.raises(kind) as at_trial:
        tried(receiver, feed, **options)
    with pytest.raises(kind) as at_work:
        worked(receiver, feed, **options)
    assert at_work.value.fix == at_trial.value.fix
    for error in (at_trial.value, at_work.value):
        for secret in (*unsaid, NAME):
            assert secret not in str(error)
        assert error.__cause__ is None, "the other side's own words stay out"
    return at_trial.value
