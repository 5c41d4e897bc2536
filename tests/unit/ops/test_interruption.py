from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ops.interruption import Interrupted, Interruption, is_interrupted
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
    assert not is_interrupted(interruption, broke, tmp_path)
    with interruption.heard(), interruption.living():
        os.kill(os.getpid(), signal.SIGINT)
    assert is_interrupted(interruption, broke, tmp_path)
    (tmp_path / "endpoints.json").touch()
    assert not is_interrupted(interruption, broke, tmp_path)
