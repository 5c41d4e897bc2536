"""What lies on a live feed's shelf, what its positions and tokens are, without a server or a clock."""

from __future__ import annotations

import math

import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured, Rejected
from schemas.guard.allowance import Allowance, Failures
from schemas.log.offsets import Extent
from sinks.live.access import tls_of, tokens_of
from sinks.live.options import ListenAddress, LiveOptions, listen_address
from sinks.live.position import FeedPosition
from sinks.live.shelf import Laid, LiveMessage, Shelf
from sinks.live.sink import try_live
from sinks.live.stream import event
from sinks.sink import SinkSetup

TOPIC = "out.bank.police.person"
GRANTED = {TOPIC: "bank.police.person"}


class Counter:
    """A shelf whose clock is set by hand."""

    def __init__(self, **terms: float) -> None:
        self.now = 0.0
        given = {"visibility_seconds": 10.0, "leases_max": 100, "deliveries_max": 3, **terms}
        self.shelf = Shelf(now=lambda: self.now, **given)  # pyright: ignore[reportArgumentType]

    def lay(self, offset: int, topic: str = TOPIC):
        message = LiveMessage(topic=topic, feed="police.person", body=b"{}")
        return self.shelf.lay((topic, 0), offset, message)

    def take(self, count: int = 100) -> list[Laid]:
        return list(self.shelf.take(count, GRANTED))

    def offsets(self, count: int = 100) -> list[int]:
        return [laid.offset for laid in self.take(count)]


def test_what_is_taken_is_out_until_it_is_acknowledged_or_its_time_is_up() -> None:
    counter = Counter()
    answers = [counter.lay(offset) for offset in range(4)]
    first = counter.take(2)
    assert [(laid.offset, laid.deliveries) for laid in first] == [(0, 1), (1, 1)]
    assert counter.shelf.acknowledge([first[1].receipt, "none"]) == ["none"]
    assert [answer.done() for answer in answers] == [False, True, False, False]
    counter.now = 9.9
    assert counter.offsets() == [2, 3]
    assert (counter.shelf.due_seconds, counter.offsets()) == (pytest.approx(0.1), [])
    counter.now = 10
    assert counter.shelf.acknowledge([first[0].receipt]) == [first[0].receipt], "too late"
    again = counter.take()
    assert [(laid.offset, laid.deliveries) for laid in again] == [(0, 2)]
    counter.now = 30
    assert counter.offsets() == [2, 3, 0], "what fell due first lies first"


def test_what_was_withdrawn_or_is_not_granted_does_not_go_out() -> None:
    counter = Counter(leases_max=3)
    answers = [counter.lay(offset) for offset in range(3)]
    other = counter.lay(7, "out.bank.aic.firm")
    assert answers[1].cancel()
    (zero, two) = counter.take()
    assert (zero.offset, two.offset, other.done()) == (0, 2, False)
    assert answers[0].cancel()
    assert counter.shelf.acknowledge([zero.receipt]) == [], "it is nobody's business any more"
    assert [laid.offset for laid in counter.shelf.take(5, {"out.bank.aic.firm": "x"})] == [7]


def test_no_more_is_out_than_may_be() -> None:
    counter = Counter(leases_max=2)
    for offset in range(5):
        counter.lay(offset)
    assert (counter.offsets(), counter.shelf.is_all_leased, counter.offsets()) == ([0, 1], True, [])
    counter.now = 10
    assert (counter.shelf.is_all_leased, counter.shelf.due_seconds) == (False, math.inf)


def test_a_change_is_given_up_only_while_others_are_acknowledged() -> None:
    counter = Counter(deliveries_max=2)
    answer = counter.lay(0)
    for _ in range(10):  # nobody acknowledges anything
        assert counter.offsets() == [0]
        counter.now += 10
    for _ in range(2):
        other = counter.lay(1)
        counter.now += 1
        counter.shelf.acknowledge([laid.receipt for laid in counter.take() if laid.offset])
        assert other.result() is None
        counter.now += 10
    assert counter.offsets() == []
    assert isinstance(error := answer.result(), Rejected)
    assert error.reason == "not_acknowledged"


def test_a_position_confirms_what_lies_there_what_is_out_and_what_is_still_to_come() -> None:
    counter = Counter()
    answers = [counter.lay(offset) for offset in range(4)]
    counter.take(1)
    counter.shelf.confirm({(TOPIC, 0): 3})
    assert [answer.done() for answer in answers] == [True, True, True, False]
    counter.shelf.confirm({(TOPIC, 0): 2})
    assert counter.lay(2).result() is None
    assert counter.offsets() == [3]


def test_the_end_of_a_grant_lies_there_until_it_is_acknowledged() -> None:
    counter = Counter()
    ended = LiveMessage(topic="out.bank.aic.firm", feed="aic.firm", body=b"{}")
    assert [counter.shelf.lay_ending(ended) for _ in range(3)] == [False] * 3
    assert list(counter.shelf.endings()) == [ended]
    (laid,) = counter.take()
    counter.now = 1_000
    (laid,) = counter.take()
    assert counter.shelf.acknowledge([laid.receipt]) == []
    assert counter.shelf.lay_ending(ended)
    assert list(counter.shelf.endings()) == []
    other = LiveMessage(topic="out.bank.tax.payer", feed="tax.payer", body=b"{}")
    counter.shelf.lay_ending(other)
    counter.shelf.confirm({(other.topic, -1): 1})
    assert counter.shelf.lay_ending(other)


def test_a_position_says_how_far_every_partition_is() -> None:
    offsets = {(TOPIC, 0): 12, (TOPIC, 10): 7, ("out.bank.aic.firm-2", 1): 40, ("out.bank.tax.payer", -1): 1}
    position = FeedPosition(told_at=1_764_450_000, offsets=offsets)
    text = position.text("out.bank.")
    assert text == "1;1764450000;aic.firm-2:1=40;police.person:0=12,10=7;tax.payer:-1=1"
    assert FeedPosition.parse(text, "out.bank.") == position
    assert position.of({TOPIC, "out.bank.tax.payer"}).offsets == {(TOPIC, 0): 12, (TOPIC, 10): 7}
    empty = FeedPosition(told_at=1, offsets={})
    assert FeedPosition.parse(empty.text("out.bank."), "out.bank.") == empty


@pytest.mark.parametrize(
    "text",
    ["", "x", "2;1", "1", "1;a", "1;1;", "1;1;a", "1;1;a:0", "1;1;a:0=1,", "1;1;a:0=-1", "1;1;A:0=1", "1;1;a:0=1\n"],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- one question: can it be read
        FeedPosition.parse(text, "out.bank.")


@pytest.mark.parametrize(
    ("offset", "told_at", "fault"),
    [
        (50, 1_000, ""),
        (100, 0, ""),
        (80, 0, ""),  # what comes after it is all young
        (79, 0, "too old"),
        (79, 501, ""),
        (9, 1_000, "no longer there"),
        (101, 1_000, "made anew"),
    ],
)
def test_a_position_is_good_while_nothing_that_came_after_it_is_old(offset: int, told_at: int, fault: str) -> None:
    extents = {(TOPIC, 0): Extent(first=10, since=80, end=100)}
    position = FeedPosition(told_at=told_at, offsets={(TOPIC, 0): offset})
    assert fault in position.fault(extents, 500)
    assert bool(position.fault(extents, 500)) == bool(fault)
    assert "made anew" in position.fault({}, 500)
    assert position.is_beyond(extents) == (offset > 100)


def test_an_event_is_what_the_standard_says() -> None:
    message = LiveMessage(topic=TOPIC, feed="police.person", body='{"a":"甲"}'.encode())
    assert event(message, "1;1").decode() == 'event: police.person\ndata: {"a":"甲"}\nid: 1;1\n\n'
    assert b"id" not in event(message)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("http://127.0.0.1:8470", True),
        ("http://[::1]:8470/", True),
        ("https://0.0.0.0:8443", True),
        ("http://10.0.0.1:8470", False),
        ("http://localhost:8470", False),
        ("https://0.0.0.0", False),
        ("https://0.0.0.0:0", False),
        ("https://0.0.0.0:99999", False),
        ("https://a@0.0.0.0:1", False),
        ("https://0.0.0.0:1/feed", False),
        ("ftp://127.0.0.1:1", False),
        (8470, False),
    ],
)
def test_others_are_served_by_tls_only(text: object, is_one: bool) -> None:
    if is_one:
        assert listen_address(text).uses_tls == str(text).startswith("https")
        return
    with pytest.raises(ValueError):  # noqa: PT011
        listen_address(text)


def setup(token: str, previous: str = "", **options: object) -> SinkSetup:
    secrets = {"main.token": token, "main.previous_token": previous, "other": token}

    def secret(_owner: str, name: str) -> str:
        if not secrets.get(name):
            raise Misconfigured(name, "is not there", fix="give it")
        return secrets[name]

    return SinkSetup(subscriber="bank", sink=SinkConfig(name="main", kind="live", options=options), address_of=secret)


def test_tokens_let_in_whoever_has_one_and_are_never_shown() -> None:
    token, previous = "t" * 32, "p" * 40 + "=="
    tokens = tokens_of(setup(token, previous), LiveOptions())
    for given in (f"Bearer {token}", f"bearer  {token} ", f"Bearer {previous}"):
        assert tokens.admits(given)
    for given in (
        "",
        "Bearer",
        "Bearer ",
        token,
        f"Basic {token}",
        f"Bearer {token}t",
        f"Bearer {token[1:]}",
        "Bearer \udcff",
    ):
        assert not tokens.admits(given)
    assert token not in repr(tokens)
    assert tokens_of(setup(token), LiveOptions(secret="other")).admits(f"Bearer {token}")
    for wrong in ("", "short", "with space" * 4, "换" * 40):
        with pytest.raises(Misconfigured) as error:
            tokens_of(setup(wrong), LiveOptions())
        assert not wrong or wrong not in str(error.value)


def test_https_needs_a_certificate_and_its_key() -> None:
    options = LiveOptions(listen=ListenAddress(host="0.0.0.0", port=1, uses_tls=True))
    with pytest.raises(Misconfigured, match="https needs one"):
        tls_of(setup("t" * 32), options)
    assert tls_of(setup("t" * 32), LiveOptions()) is None
    with pytest.raises(Misconfigured, match="https needs one"):
        try_live(setup("t" * 32, listen="https://0.0.0.0:1"))
    try_live(setup("t" * 32))


def test_an_allowance_is_so_many_a_second_and_failures_are_counted_by_address() -> None:
    allowance = Allowance(10, 20)
    assert [allowance.wait_seconds(0) for _ in range(20)] == [0] * 20
    assert allowance.wait_seconds(0) == pytest.approx(0.1)
    assert allowance.wait_seconds(0.1) == 0
    assert allowance.wait_seconds(0.1) > 0
    failures = Failures()
    waits = [failures.wait_seconds("10.0.0.1", 0) for _ in range(11)]
    assert (waits[:10], waits[10]) == ([0] * 10, pytest.approx(5))
    assert failures.wait_seconds("10.0.0.2", 0) == 0
    for number in range(2_000):
        failures.wait_seconds(str(number), 0)
    assert failures.wait_seconds("10.0.0.1", 0) == 0, "the addresses seen last are remembered"
