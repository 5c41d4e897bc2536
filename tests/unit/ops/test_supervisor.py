from hypothesis import given
from hypothesis import strategies as st

from ops.host.supervisor import AGAIN, STEADY_SECONDS, pause_before_restart


def test_first_restart_is_at_once():
    assert pause_before_restart(lived_seconds=0.1, early_ends=0) == (0.0, 1)


def test_pauses_grow_to_a_cap_while_a_process_keeps_ending_early():
    early_ends, pauses = 0, []
    for _ in range(12):
        pause, early_ends = pause_before_restart(0.1, early_ends)
        pauses.append(pause)
    assert pauses[:4] == [0.0, 0.3, 0.6, 1.2]
    assert pauses[-3:] == [AGAIN.longest_seconds] * 3
    assert pauses == sorted(pauses)


@given(early_ends=st.integers(0, 1000))
def test_process_that_lived_long_is_back_at_once_whatever_happened_before(early_ends: int):
    assert pause_before_restart(STEADY_SECONDS, early_ends)[0] == 0.0
