from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ops.demo.interruption import Interrupted, Interruption, raise_unless_interrupted
from schemas.errors import Transient


def test_the_first_interrupt_lets_the_city_rest_and_the_second_ends_all() -> None:
    said: list[str] = []
    with Interruption(said.append).heard() as interruption:
        with interruption.living():
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.is_asked_to_rest
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        assert said == []
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert len(said) == 2
    assert interruption.status == 130


def test_before_and_after_the_city_lives_the_first_signal_ends_all() -> None:
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        with Interruption(print).heard() as interruption:
            with pytest.raises(Interrupted):
                os.kill(os.getpid(), number)
            assert interruption.status == status


def test_sigterm_ends_all_while_the_city_lives() -> None:
    with Interruption(print).heard() as interruption, pytest.raises(Interrupted), interruption.living():
        os.kill(os.getpid(), signal.SIGTERM)
    assert interruption.status == 143


def test_a_database_that_goes_is_no_interruption_unless_the_mesh_was_stopped_with_it(tmp_path: Path) -> None:
    broke = Transient("the connection broke")
    interruption = Interruption(print)
    with pytest.raises(Transient, match="the connection broke"):
        raise_unless_interrupted(interruption, broke, tmp_path)
    with interruption.heard(), interruption.living():
        os.kill(os.getpid(), signal.SIGINT)
    raise_unless_interrupted(interruption, broke, tmp_path)
    (tmp_path / "endpoints.json").touch()
    with pytest.raises(Transient, match="the connection broke"):
        raise_unless_interrupted(interruption, broke, tmp_path)


def test_a_mesh_that_ends_ends_the_waiting_for_it_and_is_told_from_an_interruption(tmp_path: Path) -> None:
    interruption = Interruption(print)
    with interruption.heard():
        with pytest.raises(Interrupted) as ended, interruption.living():
            interruption.mesh_ended()
        interruption.mesh_ended()  # once is enough
    with pytest.raises(Transient, match="the mesh ended"):
        raise_unless_interrupted(interruption, ended.value, tmp_path)


def test_a_mesh_that_heard_the_same_interrupt_is_waited_for_no_more(tmp_path: Path) -> None:
    with Interruption(print).heard() as interruption:
        with interruption.living():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted) as ended:
            interruption.mesh_ended()
    raise_unless_interrupted(interruption, ended.value, tmp_path)
    assert interruption.status == 130
