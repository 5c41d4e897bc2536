"""Cases on pages, in a real browser: what officers come for, one item and hundreds at once, and who may not."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from ops.console.frame.sight import Sight
from ops.console.server import Console
from ops.queue.shown import by_cause
from ops.settings import load
from ops.trust.entry import Doorkeeper
from ops.watch.status_report import Status
from schemas.feed import AUDIT
from schemas.guard.caller import Role
from schemas.guard.token import id_of
from schemas.log.control.follower import read_directory
from schemas.log.control.records import read_all
from tests.browser.reader import Reader
from tests.stage.case_office import AT_SCHOOL, PARCELS, PUPILS, REGISTERED, CaseOffice, case_office
from tests.stage.guarded import TokenDesk
from tests.stage.until import until

pytestmark = pytest.mark.timeout(900)  # with the start of a mesh, on a machine that others use too
Readers = Callable[..., Reader]
WITHIN = 120
NAMES, GRANTEES = "姓名不一致", "受让人身份不明"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseOffice]:
    with case_office(tmp_path_factory.mktemp("cases")) as office:
        until(lambda: waiting(office, "person") == {"open": len(PUPILS)}, WITHIN, "the names wait")
        until(lambda: waiting(office, "parcel") == {"open": PARCELS}, WITHIN, "the parcels wait")
        yield office


@pytest.fixture(scope="module")
def url(office: CaseOffice) -> str:
    return office.mesh.endpoints["console"]


def waiting(office: CaseOffice, flow: str) -> dict[str, int]:
    """The items of a flow by state, as `mesh queue` has them."""
    causes = by_cause(load(office.mesh.directory), flow).causes
    return {state: count for each in causes for state, count in each.counts.items()}


def audited(office: CaseOffice, what: str) -> list[dict]:
    return [line for _, _, line in read_all(office.mesh.kafka, [AUDIT]) if line["what"] == what]


def test_every_page_of_cases_can_be_used_by_everybody_and_names_nobody(office: CaseOffice, reader: Readers) -> None:
    pages = {
        "cases": "/cases",
        "system": "/cases/parcel",
        "queue": "/cases/parcel/queue?cause=GRANTEE_UNIDENTIFIED",
        "board": "/cases/parcel/boards/parcel.payment",
        "board-empty": "/cases/parcel/boards/parcel.payment?state=PAID",
        "queue-empty": "/cases/organisation/queue",
    }
    complaints: list[str] = []
    for language, theme, width in (("zh", "light", 1280), ("en", "dark", 1280), ("zh", "dark", 390)):
        somebody = reader(language=language, theme=theme, width=width)
        item = somebody.opens("/cases/person/queue").locator("a.id").first.get_attribute("href")
        for name, path in {**pages, "item": item or ""}.items():
            if language == "en" and name.startswith(("cases", "queue-", "board-")):
                continue  # made like those that are looked at
            if width < 400 and name not in {"queue", "board", "item"}:
                continue
            page = somebody.opens(path)
            assert page.title()
            complaints += somebody.judged() if width > 400 else somebody.fitted()
            somebody.pictured(f"{name}-{language}-{width}")
            content = page.content()
            assert not [value for value in (*PUPILS, REGISTERED, AT_SCHOOL) if value in content], path
    assert not complaints


def test_an_officer_decides_whose_name_it_is_and_takes_it_back(office: CaseOffice, reader: Readers) -> None:
    officer = reader()
    page = officer.opens("/cases")
    page.get_by_role("link", name="人口基础档案").click()
    page.get_by_role("link", name=NAMES).click()
    page.locator("#given").fill(PUPILS[0])
    page.locator("form", has=page.locator("#given")).get_by_role("button").click()
    officer.sees(page.get_by_text("共 1 项"))
    assert PUPILS[0] not in page.url, "whom somebody looks for stands in no address"
    page.locator("a.id").click()
    officer.sees(page.get_by_role("heading", name=NAMES))
    assert REGISTERED not in page.content()
    page.get_by_role("button", name="查阅对象与取值").click()
    officer.sees(page.get_by_text(REGISTERED).first)
    assert PUPILS[0] in page.content()
    assert audited(office, "queue revealed")
    page.locator("summary", has_text="采信").click()
    page.locator("#row-prefer").select_option(label=f"2. 户籍人口基本信息 · {REGISTERED}")
    page.locator("#reason-prefer").fill("以公安为准 2016-114")
    page.get_by_role("button", name="采信").click()
    officer.sees(page.get_by_text("已办理"))
    assert "以公安为准 2016-114" in page.content()
    assert AT_SCHOOL not in page.content(), "to look once is no leave to look for ever"

    def stands(state: str) -> bool:
        page.reload()
        return page.locator(".head .chip", has_text=state).count() > 0

    until(lambda: stands("已办结"), WITHIN, "the flow has taken it")
    assert waiting(office, "person") == {"open": 2, "settled": 1}
    officer.pictured("item-decided", is_whole=True)
    page.locator("summary", has_text="撤销决定").click()
    page.locator("#reason-undo").fill("误判")
    page.get_by_role("button", name="撤销决定").click()
    officer.sees(page.get_by_text("已办理"))
    until(lambda: stands("待处理"), WITHIN, "it waits again")
    assert [line["reason"] for line in audited(office, "queue decide")] == ["以公安为准 2016-114"]


def test_an_officer_decides_hundreds_at_once_after_a_look_at_which(office: CaseOffice, reader: Readers) -> None:
    officer = reader()
    page = officer.opens("/cases/parcel/queue?cause=GRANTEE_UNIDENTIFIED")
    page.locator("input[name=item]").nth(0).check()
    page.locator("input[name=item]").nth(1).check()
    page.locator("summary", has_text="批量办理").click()
    officer.pictured("group-form")
    page.get_by_label("仅本页勾选的事项").check()
    page.locator("#outcome").select_option("hold")
    page.locator("#reason").fill("正在核查")
    page.get_by_role("button", name="试算").click()
    officer.sees(page.get_by_text("将办理 2 项"))
    page.get_by_role("button", name="确认办理 2 项").click()
    officer.sees(page.get_by_text("已办理 2 项"))
    until(lambda: waiting(office, "parcel") == {"open": PARCELS - 2, "held": 2}, WITHIN, "those two alone are held")

    page.get_by_role("link", name="返回此事由的事项").click()
    page.locator("summary", has_text="批量办理").click()
    page.locator("#outcome").select_option("note")
    page.locator("#reason").fill("已函告国土部门")
    page.get_by_role("button", name="试算").click()
    officer.sees(page.get_by_text(f"将办理 {PARCELS} 项"))
    assert waiting(office, "parcel")["open"] == PARCELS - 2, "nothing is decided by a trial"
    assert not officer.judged()
    officer.pictured("group-tried")
    office.sell_one("GT2017-00001")
    until(lambda: sum(waiting(office, "parcel").values()) == PARCELS + 1, WITHIN, "one more came since")
    page.get_by_role("button", name=f"确认办理 {PARCELS} 项").click()
    officer.sees(page.get_by_text(f"已办理 {PARCELS} 项"))
    officer.pictured("group-decided")
    until(
        lambda: waiting(office, "parcel") == {"open": 1, "settled": PARCELS}, WITHIN, "just those that were looked at"
    )
    page.locator("summary", has_text="撤销本批决定").click()
    page.locator("#reason-undo").fill("重新核对")
    page.get_by_role("button", name="撤销本批决定").click()
    officer.sees(page.get_by_text(f"已撤销 {PARCELS} 项"))
    until(lambda: waiting(office, "parcel") == {"open": PARCELS + 1}, WITHIN, "all wait again")
    assert [line["count"] for line in audited(office, "queue undo")][-2:] == [500, PARCELS - 500]


def test_a_board_shows_what_is_late_first_and_follows_the_feed(office: CaseOffice, reader: Readers) -> None:
    somebody = reader()
    page = somebody.opens("/cases/parcel")
    page.get_by_role("link", name="土地出让价款缴纳情况").click()
    page.locator("#late").select_option("1")
    page.locator("form", has=page.locator("#late")).get_by_role("button").click()
    somebody.sees(page.get_by_text(f"共 {len(range(0, PARCELS, 5))} 项"))
    number = page.locator("tbody th").first.inner_text().strip()
    office.run(
        "land", "UPDATE parcel_sale SET paid_amount = price, source_row_version = 2 WHERE contract_no = %s", number
    )
    somebody.sees(page.get_by_text(f"共 {len(range(0, PARCELS, 5)) - 1} 项"))
    page.locator("#given").fill(number)
    page.locator("form", has=page.locator("#given")).get_by_role("button").click()
    somebody.sees(page.locator("tr", has_text=number).get_by_text("逾期缴清"))
    assert page.locator("tbody tr").count() == 1


def test_a_system_is_for_stewards_of_its_agency_and_what_they_do_stands_under_their_name(
    office: CaseOffice, tmp_path: Path
) -> None:
    wanted = {
        "own": (Role.STEWARD, {"base"}),
        "colleague": (Role.STEWARD, {"base"}),
        "viewer": (Role.VIEWER, {"base"}),
        "other": (Role.STEWARD, {"parcel"}),
    }
    with _guarded(office, tmp_path) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        tokens = TokenDesk(office.mesh.kafka).issue(wanted)

        def ask(who: str, path: str, **form: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {tokens[who]}", "Accept": "text/html"}
            return client.post(path, data=form, headers=headers) if form else client.get(path, headers=headers)

        until(lambda: ask("own", "/cases").status_code == 200, 30, "tokens are known")
        assert ("/cases/person" in ask("own", "/cases").text, "/cases/parcel" in ask("own", "/cases").text) == (
            True,
            False,
        )
        assert [ask(who, "/cases/parcel").status_code for who in ("own", "viewer", "other")] == [403, 403, 200]
        assert ask("other", "/cases/person/queue").status_code == 403
        path = re.findall(r"/cases/person/queue/[0-9a-f]{12}", ask("own", "/cases/person/queue").text)[0]
        seen = ask("own", path).text
        basis = re.findall(r'name="basis" value="(\w+)"', seen)[0]
        assert "/decide" not in ask("viewer", path).text
        note = {"outcome": "note", "reason": "核对", "basis": basis}
        assert [ask(who, f"{path}/decide", **note).status_code for who in ("viewer", "other")] == [403, 403]
        assert [ask(who, f"{path}/reveal", x="").status_code for who in ("viewer", "other")] == [403, 403]
        stale = ask("own", f"{path}/decide", **{**note, "basis": "0" * 32})
        assert (stale.status_code, "other facts than when it was looked at" in stale.text) == (409, True)
        assert ask("own", f"{path}/decide", **{**note, "reason": ""}).status_code == 409
        assert ask("own", f"{path}/decide", **note).status_code == 303
        name = f"token {id_of(tokens['own'])}"
        assert audited(office, "queue decide")[-1]["by"] == name
        assert name in ask("own", path).text

        group = {"cause": "NAME_CONFLICT", "which": "all", "outcome": "hold", "reason": "核对"}
        run = ask("own", "/cases/person/group", **group).headers["Location"]
        until(lambda: "将办理 2 项" in ask("own", run).text, WITHIN, "it is tried")
        assert [ask(who, run).status_code for who in ("colleague", "other", "viewer")] == [404, 403, 403]
        assert ask("own", "/cases/person/group", **{**group, "which": "chosen"}).status_code == 400
        none = ask("own", "/cases/person/group", **{**group, "cause": "NAME_CONFLCT"}).headers["Location"]
        until(lambda: "did you mean" in ask("own", none).text, WITHIN, "and what is no cause is told on its page")


@contextmanager
def _guarded(office: CaseOffice, folder: Path) -> Iterator[str]:
    """The address of a console of the same mesh that lets nobody in without a token."""
    settings, stop, urls = load(office.mesh.directory), threading.Event(), list[str]()
    status = Status(at=datetime.now(UTC), feeds=(), subscriptions=(), processes=(), p50_seconds=None, p99_seconds=None)
    with closing(Doorkeeper(replace(settings, is_guarded=True, directory=folder), {})) as doorkeeper:
        sight = Sight(lambda: status, lambda: read_directory(office.mesh.kafka), settings)
        console = Console(sight, 0, doorkeeper.entrance())
        thread = threading.Thread(target=console.run, args=(stop, urls.append))
        thread.start()
        try:
            until(lambda: urls, 60, "the console answers")
            yield urls[0]
        finally:
            stop.set()
            thread.join(60)
    assert not thread.is_alive()
