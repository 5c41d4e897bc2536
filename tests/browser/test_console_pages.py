"""The console's pages in a real browser: what people come for, from the first page to the end, and what they look like."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from ops.console.frame.sight import Sight
from ops.console.server import Console
from ops.settings import load
from ops.trust.entry import Doorkeeper
from ops.watch.status_report import Status
from schemas.guard.caller import Role
from schemas.log.control.follower import read_directory
from tests.browser.reader import Reader
from tests.stage.guarded import TokenDesk
from tests.stage.running_mesh import RunningMesh, database, rows
from tests.stage.townhall import PERSON, TownHall, register
from tests.stage.until import until

pytestmark = pytest.mark.timeout(900)  # with the start of a mesh, on a machine that others use too
Readers = Callable[..., Reader]
FIRMS, STALLS = "市场主体登记信息", "流动摊贩备案信息"


def test_every_page_loads_without_an_error_and_can_be_used_by_everybody(hall: TownHall, reader: Readers) -> None:
    pages = {
        "home": "/",
        "catalogue": f"/catalogue?q={hall.agency}",
        "feed": f"/catalogue/{hall.firms}",
        "grants": f"/grants?subscriber={hall.subscriber}",
        "grant": f"/grants/{hall.grant}",
        "request": f"/grants/new?feed={hall.firms}",
        "preview": f"/grants/{hall.grant}/preview",
        "subscriptions": "/subscriptions",
        "subscription": f"/subscriptions/{hall.grant}",
        "onboarding": "/onboarding",
    }
    complaints: list[str] = []
    for language, theme, width in (("zh", "light", 1280), ("en", "dark", 1280), ("zh", "dark", 390)):
        somebody = reader(language=language, theme=theme, width=width)
        for name, path in pages.items():
            if width < 400 and name in {"grants", "preview", "subscriptions", "onboarding"}:
                continue  # made like those that are looked at
            page = somebody.opens(path)
            assert page.locator("html").get_attribute("lang") == {"zh": "zh-CN", "en": "en"}[language]
            assert page.title()
            complaints += somebody.judged() if width > 400 else somebody.fitted()
            somebody.pictured(f"{name}-{language}-{width}")
            assert PERSON not in page.content(), f"{path} shows what is personal"
            if name in {"feed", "preview"}:
                assert "示例商行" in page.content()
    assert not complaints


def test_an_operator_finds_the_feed_that_stands_still_and_why(hall: TownHall, reader: Readers) -> None:
    operator = reader()
    page = operator.opens("/?all=1")
    row = page.locator("tr", has=page.locator("th", has_text=STALLS)).filter(has_text=hall.stalls)
    operator.sees(row.get_by_text("正常"))
    with database(hall.address) as town:
        town.execute("ALTER TABLE stall RENAME name TO label")
        town.execute("INSERT INTO stall VALUES (1000, 'x', 'y', 'ACTIVE')")
    trouble = operator.sees(page.locator(".troubles li.bad", has_text=hall.stalls))
    operator.sees(trouble.get_by_text("处理办法"))
    operator.sees(page.get_by_text("需要处理"))
    operator.pictured("home-trouble")
    trouble.get_by_role("link", name=hall.stalls).click()
    operator.sees(page.get_by_role("heading", name=STALLS))
    assert operator.sees(page.get_by_role("alert").filter(has_text="处理办法")).is_visible()


def test_somebody_finds_a_feed_by_pinyin_as_they_type(hall: TownHall, reader: Readers) -> None:
    somebody = reader(language="en")
    page = somebody.opens("/catalogue")
    page.get_by_label("Search", exact=True).press_sequentially(f"scztdj {hall.agency}", delay=20)
    somebody.sees(page.get_by_text("1 found"))
    page.get_by_role("link", name=FIRMS).click()
    somebody.sees(page.get_by_role("heading", name=FIRMS))
    assert page.url.endswith(f"/catalogue/{hall.firms}")
    page.get_by_role("button", name="中文").click()
    somebody.sees(page.get_by_text("最近几行"))
    assert PERSON not in page.content()


def test_a_department_asks_for_a_grant_and_follows_it_until_it_flows(
    hall: TownHall, mesh_of_module: RunningMesh, reader: Readers
) -> None:
    asking = reader()
    page = asking.opens(f"/catalogue/{hall.firms}")
    page.get_by_role("link", name="申请授权").click()
    page.locator("#subscriber").select_option(hall.subscriber)
    page.locator("#purpose").fill("信用核查")
    page.locator("#legal_basis").fill("示例依据")
    page.locator("input[name='column.status']").check()
    page.locator("#row_filter").fill("state == 'ACTIVE'")
    page.get_by_role("button", name="提交申请").click()
    asking.sees(page.get_by_role("alert").filter(has_text="state"))
    asking.troubles.clear()  # Chromium tells of every answer of 400 and more
    page.locator("#row_filter").fill("status == 'CLOSED'")
    page.get_by_role("button", name="先试运行").click()
    asking.sees(page.locator(".sample").get_by_text("CLOSED"))
    assert page.locator("#purpose").input_value() == "信用核查", "what was filled in stays"
    assert read_directory(mesh_of_module.kafka).grants.keys() & {f"{hall.grant}.p2"} == set(), (
        "nothing was asked for yet"
    )
    page.get_by_role("button", name="提交申请").click()
    asking.sees(page.get_by_text("等待合规审核"))
    assert page.url.endswith(f"/grants/{hall.grant}.p2?done=1")
    asking.pictured("grant-waiting")
    page.get_by_role("button", name="同意").click()
    asking.sees(page.get_by_text("等待提供部门审批"))
    page.get_by_role("button", name="同意").click()
    asking.sees(page.get_by_text("现状态：生效"))
    topic = read_directory(mesh_of_module.kafka).grants[f"{hall.grant}.p2"].topic
    until(lambda: len(mesh_of_module.seen(topic)) == 8, 60, "every closed firm, and no other, flows")
    page.locator("summary", has_text="撤销").click()
    page.locator("#reason-revoke").fill("不再需要")
    page.get_by_role("button", name="撤销").click()
    asking.sees(page.get_by_text("现状态：撤销"))
    asking.sees(page.locator(".versions").get_by_text("不再需要"))


def test_a_subscriber_s_officer_delivers_dead_letters_again_and_holds_the_delivery(
    hall: TownHall, mesh_of_module: RunningMesh, reader: Readers
) -> None:
    table, target = hall.firms.replace(".", "_"), mesh_of_module.variables[f"MESH_{hall.subscriber.upper()}_DSN"]
    with database(target) as copy, database(hall.address) as town:
        copy.execute(f"ALTER TABLE {table} ADD CONSTRAINT narrow CHECK (name <> 'too long')")
        town.execute("INSERT INTO firm VALUES (5000, 'too long', 'x', 'ACTIVE')")
    officer = reader()
    page = officer.opens(f"/subscriptions/{hall.grant}")

    def dead() -> bool:
        page.reload()
        return page.locator("tr", has_text="sql_23514").count() > 0

    until(dead, 60, "the dead letter on the page")
    page.get_by_role("button", name="重新投递 sql_23514: 先试算").click()
    officer.sees(page.locator("#told").get_by_text("1 retried"))
    with database(target) as copy:
        copy.execute(f"ALTER TABLE {table} DROP CONSTRAINT narrow")
    page.get_by_role("button", name="重新投递 sql_23514", exact=True).click()
    officer.sees(page.get_by_text("没有待处理的死信"))
    until(lambda: (5000, "too long", "ACTIVE") in rows(target, table), 60, "the row at the subscriber")
    page.locator("summary", has_text="检查接收端").click()
    page.get_by_role("button", name="检查接收端").click()
    officer.sees(page.locator("#told").get_by_text("can be delivered to"))
    page.locator("summary", has_text="重送").click()
    page.locator("form", has=page.locator("#since")).get_by_role("button", name="先试算").click()
    officer.sees(page.get_by_text("没有做任何改变"))
    page.locator("summary", has_text="暂停").click()
    page.locator("#reason-pause").fill("系统维护")
    page.get_by_role("button", name="暂停").click()
    officer.sees(page.locator(".head .chip", has_text="已暂停"))
    assert "系统维护" in page.content()
    page.locator("summary", has_text="恢复").click()
    page.get_by_role("button", name="恢复").click()
    officer.sees(page.locator(".head .chip", has_text="投递中"))


def test_an_agency_s_folder_is_checked_corrected_and_flows_within_a_minute(
    mesh_of_module: RunningMesh, reader: Readers
) -> None:
    code = f"{mesh_of_module.unique}b"
    address = mesh_of_module.database(code)
    with database(address) as town:
        town.execute("CREATE TABLE kiosk (id int PRIMARY KEY, name text, owner_name text, status text)")
        town.execute("ALTER TABLE kiosk REPLICA IDENTITY FULL")
        town.execute("INSERT INTO kiosk VALUES (1, '示例亭', '张某某', 'ACTIVE')")
    source = {"name": "main", "kind": "postgres", "connection": "${NOBODY_HAS_THIS}"}
    agency = {"agency": code, "name": "示例城管局", "sources": [source]}
    undecided = register("报刊亭备案信息")
    del undecided["gov"]["class"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{code}/agency.yaml", yaml.safe_dump(agency, allow_unicode=True))
        archive.writestr(f"{code}/kiosk.avsc", json.dumps(undecided, ensure_ascii=False))
    officer = reader()
    page = officer.opens("/onboarding")
    packing = {"name": "folder.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    page.locator("#files").set_input_files(packing)
    page.get_by_role("button", name="检查").click()
    problem = officer.sees(page.locator(".troubles li.bad"))
    assert "kiosk.avsc" in problem.inner_text()
    assert "处理办法" in problem.inner_text()
    assert not officer.judged()
    officer.pictured("onboarding-problem")
    page.locator("textarea[name='file.kiosk.avsc']").fill(
        json.dumps(register("报刊亭备案信息"), ensure_ascii=False, indent=1)
    )
    page.get_by_role("button", name="检查").click()
    officer.sees(page.get_by_text("可以发布"))
    page.locator("input[name='address.main']").fill(address)
    began = time.monotonic()
    page.get_by_role("button", name="发布").click()
    told = officer.sees(page.get_by_text("后收到第一条记录")).inner_text()
    assert time.monotonic() - began < 60, told
    assert address not in page.content(), "an address is shown to nobody"
    page.get_by_role("link", name="报刊亭备案信息").click()
    officer.sees(page.get_by_role("heading", name="报刊亭备案信息"))
    assert page.url.endswith(f"/catalogue/{code}.kiosk")


def test_people_enter_with_a_token_see_their_own_and_leave(
    hall: TownHall, mesh_of_module: RunningMesh, reader: Readers, tmp_path: Path
) -> None:
    kafka = mesh_of_module.kafka
    tokens = TokenDesk(kafka).issue(
        {
            "own": (Role.STEWARD, {hall.agency}),
            "other": (Role.VIEWER, {"nobody"}),
            "subscriber": (Role.SUBSCRIBER, {"x"}),
        }
    )
    settings, stop, urls = load(mesh_of_module.directory), threading.Event(), list[str]()
    status = Status(at=datetime.now(UTC), feeds=(), subscriptions=(), processes=(), p50_seconds=None, p99_seconds=None)
    with closing(Doorkeeper(replace(settings, is_guarded=True, directory=tmp_path), {})) as doorkeeper:
        entrance = doorkeeper.entrance()
        console = Console(Sight(lambda: status, lambda: read_directory(kafka), settings), 0, entrance)
        thread = threading.Thread(target=console.run, args=(stop, urls.append))
        thread.start()
        try:
            url = until(lambda: urls and urls[0], 60, "the console answers")
            steward = _entered(reader(url=url), tokens["own"])
            page = steward.opens(f"/grants/{hall.grant}")
            steward.sees(page.locator("summary", has_text="暂停"))
            assert "示例商行" in steward.opens(f"/catalogue/{hall.firms}").content()
            viewer = _entered(reader(url=url), tokens["other"])
            assert viewer.page.goto(f"{url}/grants/{hall.grant}").status == 404, "it is not for them"
            viewer.troubles.clear()
            assert "示例商行" not in viewer.opens(f"/catalogue/{hall.firms}").content()
            subscriber = _entered(reader(url=url), tokens["subscriber"])
            assert subscriber.page.goto(f"{url}/status").status == 403
            assert subscriber.page.get_by_role("heading", name="您没有权限").is_visible()
            subscriber.troubles.clear()
            cookies = {cookie["name"]: cookie for cookie in steward.page.context.cookies()}
            kept = cookies["mesh_browser"]
            assert (kept["httpOnly"], kept["sameSite"]) == (True, "Strict")
            assert tokens["own"] not in str(cookies)
            page = steward.opens("/catalogue")
            page.evaluate("document.querySelectorAll('[name=proof]').forEach(each => each.value = 'forged')")
            page.get_by_role("button", name="English").click()
            steward.sees(page.get_by_text("页面已过期"))
            steward.troubles.clear()
            page = steward.opens("/catalogue")
            page.get_by_role("button", name="退出").click()
            page.goto(f"{url}/catalogue")
            assert "/login" in page.url
        finally:
            stop.set()
            thread.join(60)
    assert not thread.is_alive(), "streams that somebody has open do not hold it up"


def _entered(somebody: Reader, token: str) -> Reader:
    """Enter by the page, first with a wrong token."""
    page = somebody.opens("/catalogue")
    assert re.search(r"/login\?to=", page.url)
    page.get_by_label("令牌").fill(f"{token}x")
    page.get_by_role("button", name="进入").click()
    somebody.sees(page.get_by_role("alert"))
    assert not somebody.judged()
    somebody.troubles.clear()
    page.get_by_label("令牌").fill(token)
    page.get_by_role("button", name="进入").click()
    somebody.sees(page.get_by_role("heading", name="资源目录"))
    return somebody
