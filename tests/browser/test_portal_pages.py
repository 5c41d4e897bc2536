"""The open data portal in a real browser: somebody of the public, without an account, from the first page to a file."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ops.opendata.answers import Answers
from ops.opendata.server import OpenData
from ops.opendata.store import Store
from streams.flows.opendata import FLOW
from tests.browser.reader import Reader
from tests.stage.open_city import CONTRACTS, catch_up, directory, fill_districts, tick
from tests.stage.rehearsal import Rehearsal
from tests.stage.until import until

pytestmark = pytest.mark.timeout(900)  # on a machine that others use too
Readers = Callable[..., Reader]
FIRMS = "广州市商事主体登记信息"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a portal of a small city."""
    city = Rehearsal(FLOW, CONTRACTS)
    fill_districts(city)
    tick(city, 0)
    stop, urls = threading.Event(), list[str]()
    with closing(Store(tmp_path_factory.mktemp("portal") / "opendata.sqlite")) as store:
        catch_up(store, city)
        for number in range(6):
            city.update("aic.enterprise", {"ent_id": f"440106-{number}"}, status="DEREGISTERED")
            tick(city, number + 1)
            catch_up(store, city)
        server = OpenData(Answers(store, directory()), lambda: "")
        thread = threading.Thread(target=server.run, args=(stop, urls.append))
        thread.start()
        try:
            yield until(lambda: urls and urls[0], 60, "the portal answers")
        finally:
            stop.set()
            thread.join(60)
    assert not thread.is_alive()


def test_every_page_loads_without_an_error_and_can_be_used_by_everybody(reader: Readers) -> None:
    pages = {
        "datasets": "/portal/datasets",
        "dataset": "/portal/datasets/enterprise",
        "districts": "/portal/datasets/sole_trader",
        "rows": "/portal/datasets/enterprise/rows?reg_region=440106&established.from=2014",
        "sample": "/portal/datasets/enterprise/sample?number=2016-11-A",
        "businesses": "/portal/businesses?q=企业440106",
        "business": "/portal/businesses?uscc=U440106-9",
        "licences": "/portal/licences?number=440106-9",
        "api": "/portal/api",
    }
    complaints: list[str] = []
    for language, theme, width, names in (
        ("zh", "light", 1280, pages),
        ("en", "dark", 1280, ("datasets", "dataset", "rows")),
        ("zh", "dark", 390, ("datasets", "dataset", "rows")),
    ):
        somebody = reader(language=language, theme=theme, width=width)
        for name in names:
            page = somebody.opens(pages[name])
            assert page.locator("html").get_attribute("lang") == {"zh": "zh-CN", "en": "en"}[language]
            complaints += somebody.judged() if width > 400 else somebody.fitted()
            somebody.pictured(f"portal-{name}-{language}-{width}")
            assert "SECRET" not in page.content(), f"{pages[name]} shows what is not published"
            if name == "rows":
                assert not page.get_by_role("link", name="后面的记录").count(), "all of them are there"
            if name == "dataset" and width > 400:
                page.locator("svg.map").evaluate("map => map.scrollIntoView({block: 'center'})")
                somebody.pictured(f"portal-map-{language}-{width}")
    assert not complaints


def test_somebody_finds_a_set_by_pinyin_filters_its_rows_and_takes_them_along(reader: Readers, tmp_path: Path) -> None:
    somebody = reader()
    page = somebody.opens("/")
    assert page.url.endswith("/portal/datasets"), "a person is led to the pages"
    page.get_by_label("查找数据集").press_sequentially("szstdjxx", delay=20)
    somebody.sees(page.get_by_role("link", name=FIRMS, exact=True))
    page.get_by_role("link", name=FIRMS, exact=True).click()
    somebody.sees(page.get_by_role("heading", name=FIRMS))
    somebody.sees(page.locator("svg.map"))
    page.get_by_role("link", name="按条件筛选并下载").click()
    page.get_by_label("登记行政区划").fill("440111")
    page.get_by_label("成立日期 从").fill("2015")
    page.get_by_role("button", name="筛选").click()
    somebody.sees(page.locator(".sample").get_by_text("白云区"))
    with page.expect_download() as awaited:
        page.get_by_role("link", name="下载 CSV").click()
    path = tmp_path / "rows.csv"
    awaited.value.save_as(path)
    assert awaited.value.suggested_filename == f"{FIRMS}.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "by which Excel knows it for UTF-8"
    rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    assert len(rows) == 24
    assert {row["登记行政区划"] for row in rows} == {"440111"}
    page.get_by_label("成立日期 从").fill("yesterday")
    page.get_by_role("button", name="筛选").click()
    somebody.sees(page.get_by_role("alert"))
    assert page.get_by_label("成立日期 从").input_value() == "yesterday", "what was written stays"
    somebody.troubles.clear()  # Chromium tells of every answer of 400 and more
    page.get_by_role("button", name="English").click()
    somebody.sees(page.get_by_role("heading", name="Filter rows"))
    somebody.troubles.clear()


def test_somebody_checks_a_licence_and_looks_a_business_up(reader: Readers) -> None:
    somebody = reader()
    page = somebody.opens("/portal/licences")
    page.get_by_label("许可证编号").fill("440106-9")
    page.get_by_role("button", name="核验").click()
    somebody.sees(page.get_by_text("在公开名录中。"))
    page.get_by_label("许可证编号").fill("440106")
    page.get_by_role("button", name="核验").click()
    somebody.sees(page.get_by_text("公开名录中没有此编号"))
    page.get_by_role("link", name="企业公示查询").click()
    page.get_by_label("企业名称").fill("企业440106-9")
    page.get_by_role("button", name="查找").click()
    page.get_by_role("link", name="企业440106-9", exact=True).click()
    somebody.sees(page.get_by_role("heading", name="食品药品许可信息"))
    assert "SECRET" not in page.content()


def test_the_browser_keeps_nothing_of_a_reader_but_what_they_chose(reader: Readers) -> None:
    somebody = reader()
    page = somebody.opens("/portal/businesses?q=企业")
    assert {cookie["name"] for cookie in page.context.cookies()} <= {"language", "theme"}
    page.get_by_role("button", name="浅色").click()
    somebody.sees(page.get_by_role("button", name="深色"))
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.url.endswith("/portal/businesses?q=%E4%BC%81%E4%B8%9A"), "and leads back to the page"
    missing = page.goto(f"{somebody.url}/portal/no-such-page")
    assert missing is not None
    assert missing.status == 404
    somebody.sees(page.get_by_role("link", name="回到数据目录"))
    somebody.troubles.clear()
