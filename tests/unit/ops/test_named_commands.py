"""Every command of ours that a text names exists with its options: fixes, errors, docstrings, alerts, dashboards, documents (F-8)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ops.cli import main

ROOT = Path(__file__).parent.parent.parent.parent
HOMES = ("producers", "streams", "schemas", "sinks", "ops", ".github")
PAGES = {".md", ".yml", ".yaml", ".json", ".html", ".js", ".toml", ".sh", ".txt"}
_QUOTED = re.compile(r"`((?:mesh|make)\s+[a-z<-][^`]{0,160})`", re.DOTALL)
_BARE = re.compile(r"(?<![\w`/.-])(mesh [a-z]+ --[a-z][^`\n|;,)]*)")
_LINE = re.compile(r"(?:^\s*(?:\$ )?|&& )((?:mesh|make) [a-z][^#\n|`&]*)", re.MULTILINE)
_FENCE = re.compile(r"^```(?:sh|bash|console|shell|)\n(.*?)^```", re.DOTALL | re.MULTILINE)
VALUE = "<value>"


def pieces(path: Path) -> Iterator[str]:
    """The texts of a program; what an f-string fills in is VALUE."""
    tree = ast.parse(path.read_text("utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def named(path: Path) -> Iterator[str]:
    texts = list(pieces(path)) if path.suffix == ".py" else [path.read_text("utf-8")]
    for text in texts:
        yield from _QUOTED.findall(text)
        yield from _BARE.findall(text)
        if path.suffix == ".md":
            for block in _FENCE.findall(text):
                yield from _LINE.findall(block)


def files() -> list[Path]:
    found = [path for path in ROOT.iterdir() if path.suffix in PAGES]
    for home in HOMES:
        found += [path for path in (ROOT / home).rglob("*") if path.suffix in {".py", *PAGES} and path.is_file()]
    return [*found, ROOT / "tests" / "README.md"]


def commands() -> list[tuple[str, str]]:
    """Where, and the words of each command."""
    found = {(str(path.relative_to(ROOT)), " ".join(words.split())) for path in files() for words in named(path)}
    return sorted(found)


def wrong_with(words: list[str]) -> str:
    """What does not exist of a command of ours; empty if all does."""
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        targets = [word for word in words[1:] if "=" not in word]
        unset = [word for word in words[1:] if "=" in word and f"$({word.partition('=')[0]})" not in makefile]
        return ", ".join(
            [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] + unset
        )
    command, rest = main, words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if rest[0].startswith("<"):
            short = command.commands.get(getattr(command, "unnamed", ""))
            if short is None:
                return ""  # `mesh <command> --help`: any of them
            command = short  # `mesh grant <id> <status>`
            break
        # `mesh dlq list/show`: each is one.
        several = [command.commands.get(name) for name in rest[0].split("/")]
        if None in several:
            return f"no command {rest[0]}"
        command, rest = several[0] or command, rest[1:]
    return _wrong_arguments(command, rest)


def _wrong_arguments(command: click.Command, rest: list[str]) -> str:
    context = click.Context(command, info_name=command.name, resilient_parsing=True)
    names = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
    if rest and rest[-1] in names:  # an option that is named alone, whatever value it takes
        rest = rest[:-1]
    try:
        given, left, _ = command.make_parser(context).parse_args(rest)
    except click.UsageError as error:
        return error.format_message()
    if left and not isinstance(command, click.Group):
        return f"no place for {' '.join(left)}"
    for param in command.get_params(context):
        value = given.get(param.name or "")
        if isinstance(param.type, click.Choice) and isinstance(value, str) and not value.startswith("<"):
            choices = [str(choice).lower() for choice in param.type.choices]
            if not set(re.split(r"[/|]", value.lower())) <= set(choices):  # `agency/source`: each is one
                return f"{value} is none of {', '.join(choices)}"
    return ""


def test_every_command_that_a_text_names_exists_with_its_options() -> None:
    found = commands()
    assert len(found) > 100
    wrong = {f"{where}: {words}": problem for where, words in found if (problem := wrong_with(split(words)))}
    assert not wrong, "\n".join(f"{what}\n    {problem}" for what, problem in wrong.items())


def split(words: str) -> list[str]:
    """The words of a command line; what stands in angle brackets is one, and so is what is quoted."""
    whole = re.sub(r"<[^<>]*>", VALUE, words).replace("…", "")
    whole = re.sub(r"\"[^\"]*\"|'[^']*'|\$\{[^}]*\}", VALUE, whole)
    return re.sub(r"[#&\\].*", "", whole).rstrip(" .,:;").split()


@pytest.mark.parametrize(
    "words",
    [
        "mesh replays <grant>",
        "mesh resync <feed> --now",
        "mesh dlq list/redo",
        "mesh grant <id> GONE",
        "mesh grant approve <id> --as everybody",
        "mesh grant refuse <id> --why <reason>",
        "make dmeo",
        "mesh down <x>",
    ],
)
def test_what_does_not_exist_is_seen(words: str) -> None:
    assert wrong_with(split(words))
