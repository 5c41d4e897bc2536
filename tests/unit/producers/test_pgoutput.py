"""The messages between row changes, byte by byte as the protocol's chapter has them."""

from __future__ import annotations

import struct

from producers.postgresql.stream import pgoutput

PREFIX = b"w" + bytes(24)


def test_a_begin_says_its_commit_lsn_before_the_first_row() -> None:
    message = PREFIX + b"B" + struct.pack(">QqI", 0x16B3748, 1_000_000, 733)
    assert pgoutput.begin(message) == (0x16B3748, pgoutput.EPOCH_MILLIS + 1000, 733)


def test_only_the_end_of_a_commit_is_confirmed() -> None:
    message = PREFIX + b"C" + struct.pack(">BQQq", 0, 10, 20, 0)
    assert pgoutput.commit_end(message) == 20


def test_a_relation_names_its_columns_types_and_identity() -> None:
    columns = b"\x01id\0" + struct.pack(">Ii", 20, -1) + b"\0name\0" + struct.pack(">Ii", 25, -1)
    message = PREFIX + b"R" + struct.pack(">I", 16384) + b"public\0t\0f" + struct.pack(">h", 2) + columns
    relation = pgoutput.relation(message)
    assert (relation.oid, relation.schema, relation.table, relation.identity) == (16384, "public", "t", "f")
    assert [(column.name, column.type_oid, column.is_identity) for column in relation.columns] == [
        ("id", 20, True),
        ("name", 25, False),
    ]


def test_a_truncate_names_every_relation() -> None:
    assert pgoutput.truncated(PREFIX + b"T" + struct.pack(">iBII", 2, 0, 7, 9) + bytes(8)) == (7, 9)


def test_a_keepalive_says_where_the_log_ends_and_whether_to_answer() -> None:
    assert pgoutput.keepalive(b"k" + struct.pack(">QqB", 99, 0, 1)) == (99, True)


def test_a_status_confirms_one_position_in_all_three_fields() -> None:
    assert pgoutput.status(5, 6) == b"r" + struct.pack(">QQQqB", 5, 5, 5, 6, 0)


def test_log_positions_read_back() -> None:
    assert pgoutput.lsn_number(pgoutput.lsn_text(0x1_0000_00AB)) == 0x1_0000_00AB
    assert pgoutput.lsn_text(0x1_0000_00AB) == "1/AB"
