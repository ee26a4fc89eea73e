"""What the API says that takes time: who, plan, check; and a reload that is refused, with every problem."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from holdfast.export.web import asked
from holdfast.export.web.asked import Asked, FailedError, check_apart, refusal_status
from holdfast.export.web.checking import checked
from holdfast.export.web.commands import Check
from holdfast.lab.daemons import holdfast_command
from tests.export.web_site import TEXT, WebSite, web_site

GOOD = TEXT % (100, 150)
FAULTY = GOOD.replace("virtual_router_id 52", "virtual_router_id 300").replace("advert_int 0.1", "advert_imt 0.1", 1)


@pytest.fixture(scope="module")
def site() -> Iterator[WebSite]:
    with web_site() as made:
        yield made


def by_command(site: WebSite, *words: str) -> dict[str, object]:
    """What a command prints on host b, whatever it ends with."""
    return dict(json.loads(site.b.run(*holdfast_command(*words, "--json"), check=False)))


def test_who(site: WebSite) -> None:
    told = site.get("/api/who")["vips"]
    owners = {one["vip"]: (one["owner"]["address"], one["here"], one["conflict"]) for one in told}
    assert owners == {"192.0.2.100": (site.a.ip4, False, False), "192.0.2.110": (site.b.ip4, True, False)}
    same = by_command(site, "who", "--run-dir", "/run/holdfast")["vips"]
    assert isinstance(same, list)
    assert [(one["vip"], one["owner"]) for one in same] == [(one["vip"], one["owner"]) for one in told]


def test_plan(site: WebSite) -> None:
    told = site.get("/api/plan")
    assert (told["verdict"], told["changes"], told["on_trial"]) == ("ok", [], False)


def test_check(site: WebSite) -> None:
    path = site.b.write("sent.conf", FAULTY)
    status, told = site.post("check", {"text": FAULTY, "file": path})
    assert status == 200
    assert told == by_command(site, "check", path)
    assert {(one["line"], one["what"]) for one in told["problems"]} >= {
        (6, "'advert_imt' is no keyword in vrrp_instance"), (14, "virtual_router_id 300 is out of range"),
    }  # fmt: skip
    assert told["verdict"] == "refused"
    assert site.post("check", {"text": FAULTY}, token="wrong" * 4)[0] == 401
    assert site.post("check", {"text": 3})[0] == 400
    assert site.post("check", {"text": "", "file": ""})[0] == 400


def test_only_what_is_sent_is_read() -> None:
    text = "include conf.d/*.conf\ninclude /etc/passwd\nvrrp_instance ${_ENV HOME} {\n}\n"
    one = "vrrp_instance one {\n    interface eth0\n    virtual_router_id 7\n    virtual_ipaddress {\n        192.0.2.1\n    }\n}\n"
    sent = Check(text=text, included={"/etc/keepalived/conf.d/one.conf": one + "oops\n"})
    told = json.loads(checked(sent))
    said = {(problem["file"], problem["line"], problem["what"]) for problem in told["problems"]}
    assert ("/etc/keepalived/conf.d/one.conf", 8, "'oops' is no keyword") in {(a, b, c[:20]) for a, b, c in said}, said
    assert ("/etc/keepalived/keepalived.conf", 2, "no file matches '/etc/passwd'") in said
    assert "/root" not in str(told)


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"text": GOOD}).encode()
    assert json.loads(asyncio.run(check_apart(body)))["verdict"] == "ok"
    monkeypatch.setattr(asked, "MEMORY_BYTES", 16 << 20)
    with pytest.raises(FailedError, match="its reader ended early"):
        asyncio.run(check_apart(json.dumps({"text": GOOD * 5000}).encode()))
    monkeypatch.setattr(asked, "WALL_S", 0.01)
    with pytest.raises(FailedError, match=r"more than 0\.01 s"):
        asyncio.run(check_apart(body))


def test_an_answer_is_kept_the_longer_the_dearer_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def ask_bytes(*_: object) -> bytes:
        nonlocal count
        count += 1
        time.sleep(0.05)
        return b"{}"

    monkeypatch.setattr(asked, "ask_bytes", ask_bytes)
    monkeypatch.setattr(asked, "KEPT_S", 0.01)

    async def twice(share: int) -> int:
        nonlocal count
        count, one = 0, Asked("", "changes", share)
        await asyncio.gather(one.answer(), one.answer())
        await asyncio.sleep(0.1)
        await one.answer()
        return count

    assert asyncio.run(twice(20)) == 1
    assert asyncio.run(twice(0)) == 2


def test_a_problem_makes_it_422() -> None:
    assert refusal_status(b'{"error":"no","cure":"","problems":[{"line":3}]}') == 422
    assert refusal_status(b'{"error":"no","cure":"","problems":[]}') == 409
    assert refusal_status(b'{"error":"nobody holds it","cure":""}') == 409


def test_a_refused_reload_has_the_problems_of_check(site: WebSite) -> None:
    """The last: the file of host b is another now."""
    path = site.b.write("keepalived.conf", FAULTY)
    problems = by_command(site, "check", path)["problems"]
    status, told = site.post("reload", {})
    assert (status, told["problems"]) == (422, problems)
    assert told["error"].startswith("the new configuration is refused")
    status, _, octets = site.ask("GET", "/api/plan")
    assert (status, json.loads(octets)["problems"]) == (422, problems)
    assert len(site.get("/api/status")["instances"]) == 2
    site.b.write("keepalived.conf", GOOD.replace("192.0.2.110", "192.0.2.111"))
    assert site.post("reload", {"confirm_s": 60})[0] == 200
    assert site.get("/api/status")["instances"][1]["vips"] == ["192.0.2.111/24"]
