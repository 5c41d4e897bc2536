import socket
from pathlib import Path

from ops.embedded.program import free_ports, last_lines, reaches, rotate, said_since


def test_log_beyond_its_bound_keeps_its_end_and_starts_anew(tmp_path: Path):
    log = tmp_path / "hop.log"
    with log.open("ab") as child:
        child.write(b"old " * 100)
        child.flush()
        rotate(log, bytes_max=40)
        assert (tmp_path / "hop.log.1").read_bytes() == b"old " * 10
        child.write(b"new")
    assert log.read_bytes() == b"new"


def test_log_within_its_bound_and_log_that_is_not_there_stay(tmp_path: Path):
    log = tmp_path / "hop.log"
    rotate(log)
    log.write_text("x")
    rotate(log, bytes_max=1)
    assert log.read_text() == "x"
    assert list(tmp_path.iterdir()) == [log]


def test_error_quotes_only_the_end_of_a_log(tmp_path: Path):
    log = tmp_path / "hop.log"
    assert last_lines(log) == ""
    log.write_text("\n".join(str(n) for n in range(100)))
    assert last_lines(log, 2) == "98\n99"
    assert said_since(log, log.stat().st_size - 2) == "99"


def test_preferred_port_is_kept_while_free_and_replaced_once_taken():
    [first, second] = free_ports(2)
    assert first != second
    assert free_ports(2, [first, second]) == [first, second]
    with socket.create_server(("127.0.0.1", first)):
        assert reaches(f"127.0.0.1:{first}")
        replaced, kept = free_ports(2, [first, second])
        assert replaced != first
        assert kept == second
    assert not reaches(f"127.0.0.1:{first}")


def test_address_that_cannot_be_read_is_not_reached():
    assert not reaches("nonsense")
    assert not reaches("127.0.0.1:port")
