"""`mesh subscription`: what a subscriber's officer does about its own delivery; thin doors to this room and to `mesh replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_lines
from ops.command.redelivery import replay
from ops.settings import load

_names = click.argument("names", nargs=-1, required=True)


@click.group()
def subscription() -> None:
    """Pause, resume, replay and test what is delivered to a subscriber, and see what holds it.

    NAMES are grants (customs.aic.enterprise), or sinks for all grants through them (customs.main). Others are not touched.
    """


@subscription.command()
@_names
@click.option("--reason", default="", help="Why, for whoever looks at the status; never a personal value.")
@dir_option
@json_option
def pause(names: tuple[str, ...], reason: str, directory: Path, as_json: bool) -> None:
    """Hold what NAMES deliver: within seconds, over restarts, until `resume`. Changes wait on their topic, in order.

    Ends of grants are carried out meanwhile: what a subscriber may no longer have, it no longer has.
    """
    from ops.subscription.hold import pause as hold

    print_lines(hold(load(directory), names, reason), as_json)


@subscription.command()
@_names
@click.option("--reason", default="", help="Why, for the audit.")
@click.option(
    "--accept-gap",
    is_flag=True,
    help="Also after a pause of more than 7 days, in which removals may have left the topic unread.",
)
@dir_option
@json_option
def resume(names: tuple[str, ...], reason: str, accept_gap: bool, directory: Path, as_json: bool) -> None:
    """Let NAMES go on exactly where they were; also a sink that stopped because its receiver was gone, or unwell for too long."""
    from ops.subscription.hold import resume as release

    print_lines(release(load(directory), names, reason, is_gap_accepted=accept_gap), as_json)


@subscription.command()
@click.argument("name")
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    help="How long the former login is good beside the new one, such as 30s, 2h or 7d; 0s removes it at once.",
)
@dir_option
@json_option
def rotate(name: str, overlap: str, directory: Path, as_json: bool) -> None:
    """Give the subscriber that reads the topics of its sink NAME (customs.own) itself another login.

    User and password are written to a file that only you can read, in the place of the former one; nothing prints the password.
    Hand it over. Both logins can enter until the overlap is over; then the former is removed, and a client that still uses it stops.
    """
    from ops.own_topic.rotation import rotate as other_login

    print_lines(other_login(load(directory), name, overlap), as_json)


@subscription.command("list")
@click.argument("names", nargs=-1)
@dir_option
@json_option
def list_subscriptions(names: tuple[str, ...], directory: Path, as_json: bool) -> None:
    """List sinks and grants: active, paused (by whom, since when, why), stopped or off; all of them, or NAMES."""
    from ops.subscription.listing import listed

    print_lines(listed(load(directory), names), as_json)


@subscription.command()
@click.argument("name")
@dir_option
@json_option
def show(name: str, directory: Path, as_json: bool) -> None:
    """Show one subscription: its state and why, its sink, its grants, and what its delivery policy limits."""
    from ops.subscription.listing import shown

    print_lines(shown(load(directory), name), as_json)


@subscription.command("test")
@click.argument("name")
@dir_option
@json_option
def try_target(name: str, directory: Path, as_json: bool) -> None:
    """Try the target of NAME end to end, now, and say what to do where it fails. No row is written.

    A webhook gets one signed event of type mesh.test. Exit status 1 where something fails.
    """
    from ops.subscription.trial import tried

    outcome = tried(load(directory), name)
    print_lines(outcome, as_json)
    sys.exit(0 if outcome.is_ok else 1)


subscription.add_command(replay)
