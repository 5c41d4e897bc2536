"""What is promised to users: each command explains itself and is in the README, each kind of source and sink is proven."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ops.cli import main
from ops.kinds.sinks import SINKS
from ops.kinds.sources import SOURCES
from schemas.form import names_of

ROOT = Path(__file__).parent.parent.parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(main.commands)
PROVEN_BY = {
    "source postgres": "test_postgres_capture.py",
    "source files": "test_source_files.py",
    "source polled": "test_polled.py",
    "source push": "test_source_push.py",
    "source mysql": "test_maria_trouble.py",
    "source mesh": "test_federation.py",
    "sink postgres": "test_sink_postgres.py",
    "sink mysql": "test_sink_mysql.py",
    "sink webhook": "test_sink_webhook.py",
    "sink files": "test_sink_files.py",
    "sink s3": "test_sink_s3.py",
    "sink sftp": "test_sink_sftp.py",
    "sink live": "test_sink_live.py",
    "sink kafka": "test_own_topic.py",
    "sink mesh": "test_federation.py",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself_and_each_of_its_options(name: str) -> None:
    command = main.commands[name]
    assert command.help
    assert len(command.get_short_help_str(200)) > 20
    bare = [
        option.opts[0]
        for option in command.params
        if isinstance(option, click.Option) and not (option.help or "").strip()
    ]
    # A pair of flags that say it all needs no more words.
    assert not bare, f"mesh {name}: without a word of help: {bare}"


def test_the_readme_lists_every_command_and_no_other() -> None:
    table = README.split("## Commands", 1)[1].split("\n## ", 1)[0].split("| setting |", 1)[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `mesh ")]
    listed = [name for cell in first_cells for name in re.findall(r"`mesh (\w+)", cell)]
    assert sorted(listed) == COMMANDS


def test_every_command_that_the_readme_shows_exists_with_its_options() -> None:
    shown = re.findall(r"(?:^|[`&|(] ?)mesh ([a-z]+)((?: [^`#&|\n]*)?)", README, re.MULTILINE)
    assert shown
    for name, rest in shown:
        assert name in COMMANDS, f"mesh {name}"
        command = main.commands[name]
        each = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        known = {text for one in each for option in one.params for text in [*option.opts, *option.secondary_opts]}
        unknown = set(re.findall(r"--[a-z-]+", rest)) - known - {"--help"}
        assert not unknown, f"mesh {name}: {unknown}"


def test_the_readme_lists_every_option_of_a_source_and_sink_and_no_other() -> None:
    listed: dict[str, set[str]] = {}
    kinds: list[str] = []
    for line in README.split("| of | option |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]:
        of, names = line.split("|")[1:3]
        kinds = of.strip().replace("`", "").split(", ") if of.strip() else kinds
        for kind in kinds:
            listed.setdefault(kind, set()).update(re.findall(r"`(\w+)`", names))
    taken = {f"source {kind}": names_of(entry.options) for kind, entry in SOURCES.items()}
    taken |= {f"sink {kind}": names_of(entry.options) for kind, entry in SINKS.items()}
    # An operator's, which is named to say whose it is.
    expected = {kind: {*names} - {"allow_cidrs"} for kind, names in taken.items() if names}
    assert listed == expected


def test_every_kind_of_source_and_sink_is_proven_on_real_servers() -> None:
    kinds = {f"source {kind}" for kind, entry in SOURCES.items() if entry.open} | {f"sink {kind}" for kind in SINKS}
    assert set(PROVEN_BY) == kinds, "name the broker test that proves it"
    for kind, name in PROVEN_BY.items():
        text = (ROOT / "tests" / "broker" / name).read_text()
        assert text.count("\ndef test_") >= 3, f"{kind}: {name}"


def test_every_make_target_has_its_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (\w+)$", makefile, re.MULTILINE)
    assert phony
    for target in phony:
        assert re.search(rf"^{target}:.*## \S", makefile, re.MULTILINE), target
