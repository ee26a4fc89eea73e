"""The queue of mails: what a reload, or more mails than it holds, do to one that is being sent."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.base.time import SECOND
from holdfast.config.plan import MailConfig
from holdfast.edge import mail
from holdfast.edge.loop import Loop
from holdfast.edge.mail import Mailer, Message
from holdfast.vrrp.messages import Level

CONFIG = MailConfig(server="127.0.0.1", port=1, sender="a@b", recipients=("c@d",), helo="h", timeout_ns=SECOND)


class Post:
    """A mailer whose messages end in a file, each after a moment."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = place / "sent"

        def deliver(config: MailConfig, message: Message) -> None:
            time.sleep(0.1)
            with self._file.open("a") as out:
                out.write(message.subject + "\n")

        monkeypatch.setattr(mail, "_deliver", deliver)
        self.loop = Loop()
        self.said: list[str] = []
        self.mailer = Mailer(self.loop, self._say, lambda span_ns, call: None)
        self.mailer.load(CONFIG)

    def _say(self, level: Level, text: str) -> None:
        self.said.append(text)

    def sent(self) -> list[str]:
        """What was delivered, once nothing is on its way."""
        until = time.monotonic() + 5
        while self.mailer.pending() and time.monotonic() < until:
            self.loop.wait(time.monotonic_ns() + SECOND // 5)
        return self._file.read_text().split() if self._file.exists() else []


def both(post: Post) -> None:
    post.mailer.send("one", "")
    post.mailer.send("two", "")


def settings_go(post: Post) -> None:
    post.mailer.send("one", "")
    post.mailer.load(None)


def settings_go_and_return(post: Post) -> None:
    settings_go(post)
    post.mailer.load(CONFIG)
    post.mailer.send("two", "")


@pytest.mark.parametrize(
    ("act", "sent"), [(both, ["one", "two"]), (settings_go, ["one"]), (settings_go_and_return, ["one", "two"])]
)
def test_a_reload_does_not_touch_the_mail_on_its_way(
    act: Callable[[Post], None], sent: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, monkeypatch)
    act(post)
    assert post.sent() == sent
    assert post.said == []


def test_what_does_not_fit_is_counted_and_only_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "MOST", 3)
    post = Post(tmp_path, monkeypatch)
    for number in range(6):
        post.mailer.send(str(number), "")
    assert post.sent() == ["0", "3", "4", "5"]
    assert post.said == ["mail: 2 messages were lost: the relay did not take them in time"]
