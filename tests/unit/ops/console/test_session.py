"""Sessions of browsers: whose they are, how long, and the proof of a form."""

from __future__ import annotations

import asyncio

from ops.console.frame.session import IDLE_SECONDS, LONGEST_SECONDS, SESSIONS_MAX, Sessions
from ops.trust.login import acting_as, login_name
from schemas.guard.caller import EVERYTHING, Caller, Right, Role

SOMEBODY = Caller(name="token 1", rights=(Right(role=Role.VIEWER, agencies=EVERYTHING.agencies),))


def test_a_session_ends_when_nobody_is_there_and_after_a_day_s_work() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    browser = sessions.begin(SOMEBODY)
    assert sessions.caller(browser) is SOMEBODY
    assert sessions.caller(Sessions.new_id()) is None
    now[0] = IDLE_SECONDS - 1
    assert sessions.caller(browser) is SOMEBODY, "who comes back is there"
    now[0] += IDLE_SECONDS + 1
    assert sessions.caller(browser) is None
    browser = sessions.begin(SOMEBODY)
    began = now[0]
    while now[0] < began + LONGEST_SECONDS:
        now[0] += IDLE_SECONDS - 1
        still = sessions.caller(browser)
    assert still is None, "however often they look"


def test_a_page_that_renews_itself_keeps_nobody_in() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    browser = sessions.begin(SOMEBODY)
    now[0] = IDLE_SECONDS - 1
    assert sessions.caller(browser, by_itself=True) is SOMEBODY
    now[0] += 2
    assert sessions.caller(browser, by_itself=True) is None, "nobody was there meanwhile"


def test_whoever_leaves_has_left_and_the_oldest_makes_room() -> None:
    sessions = Sessions(lambda: 0.0)
    first, second = sessions.begin(SOMEBODY), sessions.begin(SOMEBODY)
    sessions.end(second)
    assert sessions.caller(second) is None
    for _ in range(SESSIONS_MAX):
        sessions.begin(SOMEBODY)
    assert sessions.caller(first) is None


def test_a_form_proves_that_it_is_of_a_page_given_to_this_browser() -> None:
    sessions, others = Sessions(), Sessions()
    browser = Sessions.new_id()
    proof = sessions.proof(browser)
    assert sessions.is_proof(browser, proof)
    assert not sessions.is_proof(Sessions.new_id(), proof)
    assert not others.is_proof(browser, proof), "a process that was started anew asks anew"
    assert not any(sessions.is_proof(browser, wrong) for wrong in ("", proof[:-1], "证明"))
    assert browser not in proof


def test_what_is_done_for_somebody_stands_under_their_name_in_the_thread_that_does_it_too() -> None:
    own = login_name()

    async def act(name: str) -> str:
        with acting_as(name):
            await asyncio.sleep(0)
            return await asyncio.to_thread(login_name)

    async def both() -> list[str]:
        return await asyncio.gather(act("token 1"), act("token 2"), act(""))

    assert asyncio.run(both()) == ["token 1", "token 2", own]
    assert login_name() == own
