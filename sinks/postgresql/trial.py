"""Trial: what onboarding tries of a PostgreSQL sink, so that a wrong password is told to the person who can mend it.

And what `mesh subscription test` looks at there: it asks, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from schemas.agreement.grant import Grant
from sinks.kind import Checked
from sinks.postgresql.options import PostgresSinkOptions
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.table.offsets import PostgresOffsets
from sinks.postgresql.table.table import quote
from sinks.sink import SinkSetup

_WRITES = ("SELECT", "INSERT", "UPDATE", "DELETE")
_SERVER = "SELECT current_setting('server_version'), pg_is_in_recovery()"
_SCHEMA = (
    "SELECT to_regnamespace(quote_ident(%(schema)s)) IS NOT NULL, "
    "coalesce(has_schema_privilege(to_regnamespace(quote_ident(%(schema)s)), 'USAGE'), false), "
    "coalesce(has_schema_privilege(to_regnamespace(quote_ident(%(schema)s)), 'CREATE'), false), "
    "has_database_privilege(current_database(), 'CREATE')"
)


def try_postgres(setup: SinkSetup) -> None:
    """Log in and make our own tables. Raises Misconfigured when the account may not, Transient when nothing answers."""
    options = setup.options(PostgresSinkOptions)
    with closing(Pipe(setup.secret(options.address, setup.sink.name), setup.subscriber)) as pipe:
        PostgresOffsets(pipe, setup.subscriber, options.schema, beside_source=options.beside_source).make()


def probe_postgres(setup: SinkSetup, grants: Sequence[Grant]) -> Iterator[Checked]:
    """Connect, and see whether the account may do what delivery does. Raises MeshError where nothing answers."""
    options = setup.options(PostgresSinkOptions)
    address = setup.secret(options.address, setup.sink.name)
    with closing(Pipe(address, setup.subscriber)) as pipe:
        version, is_standby = _row(pipe, _SERVER)
        yield Checked(what="its database answers", detail=f"PostgreSQL {version}")
        if is_standby:
            fix = "give the sink the address of the primary"
            yield Checked(what="it takes writes", is_ok=False, detail="it is a standby", fix=fix)
        tables = {"_mesh_offsets": "the mesh's own", "_mesh_tables": "the mesh's own"} | {
            options.tables.get(grant.delivered_as, grant.delivered_as.replace(".", "_")): f"of {grant.grant_id}"
            for grant in grants
        }
        missing = [name for name in tables if not _is_there(pipe, options.schema, name)]
        yield _schema(pipe, options.schema, missing)
        for name, of in tables.items():
            what = f"table {name} ({of})"
            if name in missing:
                yield Checked(what=what, detail="is not there yet: delivery makes it")
            else:
                yield _rights(pipe, f"{quote(options.schema)}.{quote(name)}", what)


def _schema(pipe: Pipe, schema: str, missing: Sequence[str]) -> Checked:
    """An account of a database that others prepared need not make tables, as long as none is missing."""
    is_there, may_use, may_create, may_create_schemas = _row(pipe, _SCHEMA, {"schema": schema})
    what = f"the account may work in schema {schema}"
    if not is_there:
        fix = f"CREATE SCHEMA {quote(schema)} AUTHORIZATION {_user(pipe)}"
        detail = (
            "is not there yet: delivery makes it"
            if may_create_schemas
            else "is not there, and the account may make none"
        )
        return Checked(what=what, is_ok=bool(may_create_schemas), detail=detail, fix="" if may_create_schemas else fix)
    lacking = [right for right, has in (("USAGE", may_use), ("CREATE", may_create or not missing)) if not has]
    if lacking:
        fix = f"GRANT {', '.join(lacking)} ON SCHEMA {quote(schema)} TO {_user(pipe)}"
        return Checked(what=what, is_ok=False, detail=f"it lacks {', '.join(lacking)}", fix=fix)
    return Checked(what=what)


def _is_there(pipe: Pipe, schema: str, name: str) -> bool:
    return bool(_row(pipe, "SELECT to_regclass(%s) IS NOT NULL", (f"{quote(schema)}.{quote(name)}",))[0])


def _rights(pipe: Pipe, path: str, what: str) -> Checked:
    asked = "SELECT has_table_privilege(to_regclass(%s), %s)"
    lacking = [right for right in _WRITES if not _row(pipe, asked, (path, right))[0]]
    if lacking:
        fix = f"GRANT {', '.join(lacking)} ON {path} TO {_user(pipe)}"
        return Checked(what=what, is_ok=False, detail=f"the account lacks {', '.join(lacking)}", fix=fix)
    return Checked(what=what, detail="may be read and written")


def _row(pipe: Pipe, query: str, params: Any = None) -> tuple[Any, ...]:
    return tuple(pipe.rows(query, params)[0])


def _user(pipe: Pipe) -> str:
    [name] = _row(pipe, "SELECT quote_ident(current_user)")
    return str(name)
