"""The page in a real Chromium: one look, clicks, keys, a failover seen at once, phone and dark."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from holdfast.lab.hosts import descendants, wait_until
from tests.export.test_web import SERVICE
from tests.export.web_site import PORT, TOKEN, WebSite, web_site

URL = f"http://127.0.0.1:{PORT}/"
PICTURES = os.environ.get("HOLDFAST_PICTURES", "")
"""A directory for the pictures of the documentation, when they are to be made anew."""


class Seen:
    """A page, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: self.asked.append(asked.url))

    def picture(self, name: str, **how: Any) -> None:
        if PICTURES:
            self.page.screenshot(path=Path(PICTURES, name), **how)


@pytest.fixture(scope="module")
def site() -> Iterator[WebSite]:
    with web_site() as made:
        yield made


@pytest.fixture(scope="module")
def browser(site: WebSite) -> Iterator[Any]:
    with site.b.inside():  # what is started here lives in that host's network
        playwright = sync_playwright().start()
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    yield started
    started.close()
    playwright.stop()


@pytest.fixture
def seen(browser: Any) -> Iterator[Seen]:
    page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
    page.set_default_timeout(8000)
    one = Seen(page)
    page.goto(URL)
    page.wait_for_selector(".vip")
    yield one
    page.close()
    assert not one.wrong
    assert all(url.startswith(URL) for url in one.asked), one.asked


def owner(page: Page, vip: str) -> str:
    """In whose box an address is."""
    return str(page.get_attribute(f".vip[aria-label^='{vip}']", "data-owner"))


def test_one_look_tells_who_owns_what(seen: Seen, site: WebSite) -> None:
    page = seen.page
    assert owner(page, "192.0.2.100/24") == site.a.ip4
    assert owner(page, "192.0.2.110/24") == page.inner_text("#node")
    expect(page.locator("#verdict")).to_have_text("master of 1 of 2")
    expect(page.locator("tr[data-instance=web]")).to_contain_text("BACKUP")
    expect(page.locator("tr[data-instance=web]")).to_contain_text(f"{site.a.ip4} (150)")
    expect(page.locator("#link")).to_contain_text("live")


def test_click_and_keys(seen: Seen) -> None:
    page = seen.page
    page.wait_for_selector("#events li")
    page.click(".vip[aria-label*='instance mail']")
    expect(page.locator("#filter")).to_have_text("mail only ✕")
    expect(page.locator("tr.chosen")).to_contain_text("mail")
    assert not page.locator("#events li", has_text="web").count()
    page.click("#filter")
    expect(page.locator("#filter")).to_be_hidden()
    page.focus(".vip[aria-label*='instance web']")
    page.keyboard.press("Enter")
    expect(page.locator("#filter")).to_have_text("web only ✕")
    expect(page.locator("#why-title")).to_have_text("Why is web BACKUP?")
    expect(page.locator("#why")).to_contain_text("What would change it")
    page.focus(".mark.state")
    expect(page.locator("#tip")).to_contain_text("started")
    page.focus("#timeline")
    before = page.locator("#timeline svg").inner_html()
    for key in ("-", "ArrowLeft", "+", "Home", "End"):
        page.keyboard.press(key)
    page.keyboard.press("-")
    assert page.locator("#timeline svg").inner_html() != before


def test_timeline_by_mouse(seen: Seen) -> None:
    """The wheel zooms about the pointer; dragging scrolls, and what was scrolled away from now stays there."""
    page = seen.page
    page.wait_for_selector("#timeline .mark")

    def hours() -> list[str]:
        return page.locator("#timeline svg text.soft").all_text_contents()

    def width() -> float:  # in one step: the picture may be drawn anew at any moment
        return float(page.evaluate("document.querySelector('#timeline .bar').getBoundingClientRect().width"))

    place = page.locator("#timeline").bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + 20)
    before = width()
    for _ in range(6):
        page.mouse.wheel(0, 300)
    assert width() < before * 0.6
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] - 10, place["y"] + 20, steps=5)
    page.mouse.up()
    page.mouse.move(1, 1)
    scrolled = hours()
    page.wait_for_timeout(2500)  # the page is told of something new meanwhile
    assert hours() == scrolled
    page.focus("#timeline")
    page.keyboard.press("End")
    assert hours() != scrolled


def test_how_late_adverts_leave(seen: Seen) -> None:
    """A bar a bucket; the words say as many adverts as there are."""
    page = seen.page
    expect(page.locator("#late-section")).to_be_visible()
    bars = page.locator("#late .late")
    assert bars.count() == 14
    page.focus("#late .late >> nth=13")
    expect(page.locator("#tip")).to_contain_text("later than 1 s: ")
    words = bars.evaluate_all("bars => bars.map(bar => bar.getAttribute('aria-label'))")
    counts = [int(re.sub(r"\D", "", one.split(": ")[1].split(" adverts")[0])) for one in words]
    said = int(re.sub(r"\D", "", page.inner_text("#late p").split(" adverts")[0]))
    assert 0 < sum(counts) <= said <= sum(counts) + 60


def test_a_stopped_worker_is_named(seen: Seen, site: WebSite) -> None:
    names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in descendants(site.second.pid)}
    os.kill(names["holdfast_vrrp"], signal.SIGSTOP)
    try:
        expect(seen.page.locator("#verdict")).to_contain_text("is stopped; let it go on: kill -CONT")
        seen.wrong.clear()  # the console tells of each 503
    finally:
        os.kill(names["holdfast_vrrp"], signal.SIGCONT)
    expect(seen.page.locator("#verdict")).to_have_text("master of 1 of 2")
    seen.wrong.clear()


def test_incidents_servers_and_words_that_look_like_markup(seen: Seen, site: WebSite) -> None:
    page = seen.page
    evil = '<img src=x onerror="document.title=1">'
    status = site.get("/api/status") | {"virtual_servers": [{**SERVICE, "name": f"a {evil}"}], "bfd": []}
    status["incidents"] = [{"number": 1, "instance": "web", "cause": "unheard", "text": f"heard {evil}", "count": 3,
                            "cure": "let VRRP through", "opened_s_ago": 7}]  # fmt: skip
    page.route("**/api/status", lambda route: route.fulfill(json=status))
    expect(page.locator("#verdict")).to_have_text("Two masters: web")
    expect(page.get_by_role("alert")).to_contain_text("Cure: let VRRP through")
    services = page.locator("#services")
    expect(services).to_contain_text(evil)
    expect(services).to_contain_text("no quorum")
    expect(services).to_contain_text("Sorry server 10.0.0.9:80, serving now")
    services.get_by_text("✗ HTTP_GET").hover()
    expect(page.locator("#tip")).to_have_text("HTTP_GET: status 500")
    assert not page.locator("main img").count()
    assert page.title() != "1"


def test_dark_and_phone(seen: Seen) -> None:
    page = seen.page

    def ground(colour: str) -> None:
        expect(page.locator("body")).to_have_css("background-color", colour)

    ground("rgb(246, 247, 249)")
    page.emulate_media(color_scheme="dark")
    ground("rgb(18, 22, 27)")
    page.emulate_media(color_scheme="light")
    page.click("#theme")
    ground("rgb(18, 22, 27)")
    page.wait_for_timeout(400)
    seen.picture("web-dark.png")
    page.click("#theme")
    ground("rgb(246, 247, 249)")
    page.set_viewport_size({"width": 360, "height": 780})
    expect(page.locator("td[data-label=Priority]").first).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    page.wait_for_timeout(400)
    seen.picture("web-phone.png")


def test_commands_by_the_page(seen: Seen, site: WebSite) -> None:
    page = seen.page
    assert not page.get_by_text("Take over").count()
    page.click("#token")
    page.fill("#ask-token", TOKEN)
    page.keyboard.press("Enter")
    page.locator("tr[data-instance=web]").get_by_text("Take over").click()
    wait_until(lambda: site.b.holds("192.0.2.100"), 5, "b has taken over")
    page.wait_for_selector(".vip.MASTER[aria-label^='192.0.2.100']")
    page.locator("tr[data-instance=web]").get_by_text("Release").click()
    page.wait_for_selector(".vip.other[aria-label^='192.0.2.100']")


def test_a_failover_is_seen_within_a_second_with_its_cause(seen: Seen, site: WebSite) -> None:
    """The last: host a is dead afterwards."""
    page = seen.page
    site.a.power_off()
    wait_until(lambda: site.b.holds("192.0.2.100"), 5, "b has taken over", step=0.005)
    since = time.monotonic()
    page.wait_for_selector(".vip.MASTER[aria-label^='192.0.2.100']")
    assert time.monotonic() - since < 1
    expect(page.locator("#verdict")).to_have_text("master of 2 of 2")
    expect(page.locator("#events li").first).to_contain_text("fell silent")
    mark = page.locator(".mark.state[aria-label*='fell silent']").first
    mark.dispatch_event("pointerenter")  # another mark may lie over it
    expect(page.locator("#tip")).to_contain_text(f"{site.a.ip4} fell silent")
    mark.dispatch_event("pointerleave")
    page.mouse.move(1, 1)
    page.wait_for_timeout(3000 if PICTURES else 0)
    seen.picture("web-page.png", full_page=True)
