"""`mesh tail`: the changes of a topic in a terminal, as they come."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from itertools import islice

import click

from ops.audit.refused import note
from ops.settings import Settings
from ops.show import tail as tail_lines
from ops.show.tail_dead import PREFIX, dead_letters
from schemas.errors import Misconfigured
from schemas.feed import first_edition
from schemas.log.control.follower import read_directory
from schemas.log.range import tail
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec


def show_tail(
    settings: Settings, topic: str, *, from_start: bool, count: int | None, reveal: bool, as_json: bool
) -> None:
    """Print the changes of a topic as they come, until Ctrl-C or `count` of them."""
    directory = read_directory(settings.kafka)
    about = topic.removeprefix(PREFIX)
    entry = directory.feeds.get(about)
    if entry is None and (grant := directory.grants.get(first_edition(about.removeprefix("out.")))):
        entry = directory.feeds.get(grant.grant.feed)
    if entry is None:
        problem = "is no feed, no `out.` topic of a grant, and no `dlq.` topic of either"
        raise Misconfigured(topic, problem, fix="`mesh status` lists feeds and grants")
    if reveal:
        note(settings, "tail revealed", topic)
    view = tail_lines.View(contract=entry.contract, is_revealed=reveal)
    batches = (
        batch
        for several in tail(settings.kafka, [topic], threading.Event(), from_beginning=from_start)
        for batch in several
    )
    follow = dead_letters if topic.startswith(PREFIX) else tail_lines.tail
    with suppress(KeyboardInterrupt), closing(RegistryClient(settings.registry)) as registry:
        lines = follow(topic, batches, Codec(registry.schema), view, as_json=as_json)
        if count is not None:
            lines = islice(lines, count + (not as_json))
        for line in lines:
            click.echo(line)
