"""A page walked through: its files written, its commands run on hosts of a lab, what it shows compared with what came.

In the page, a prompt with a host's name (`alpha# holdfast status`) is a command on that host; the lines below it are
what it prints. A line `…` stands for any lines, `…` within a line for any text; times, spans and process ids are only
compared in kind. A command that ends with ` &` goes on, and its lines are waited for. Comments, which readers don't
see, say the rest: `<!-- file: alpha /etc/keepalived/keepalived.conf -->` before a block writes it there,
`<!-- lab: cut alpha -->` does something to the network, `<!-- lab-run: alpha holdfast run -->` starts something that goes
on (`lab-stop` ends that very process: hosts of a lab see the machine's other processes, so no command may kill by name),
`<!-- lab-inside: alpha 10.0.0.2 -->` plugs eth1 into a second network, `<!-- lab-sh: alpha … -->` is a command that is
not shown, `<!-- lab-copy: HOST PATH HOST PATH -->` copies a file.

`python -m tests.docs.walk PAGE` writes what comes below the commands that show nothing yet.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from holdfast.lab.hosts import Cable, Host, Lab, Spawned

LOOKS = ("status", "who", "why", "events", "ip", "ping", "cat", "curl", "plan", "sniff")
"""Commands that change nothing: asked again until they say what the page says."""
PATIENCE_S = 12.0
SKIP = "…"
ADDRESSES = {"alpha": "192.0.2.11", "beta": "192.0.2.12", "client": "192.0.2.20", "s1": "192.0.2.31", "s2": "192.0.2.32"}

_PART = re.compile(r"^<!-- (file|lab(?:-\w+)?): (.+?) -->\n|^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^(\w+)[#$] (.+)$")
_LOOSE = (
    (re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d)?)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d+"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? ?(ns|µs|ms|s|min|h)\b( \d+ (s|min|h)\b)*"), "<span>"),
    (re.compile(r"\bpid \d+"), "pid <n>"),
    (re.compile(r"\b\d+ of \d+ probes"), "<n> probes"),
    (re.compile(r"\b[\d,]+ (bytes|events|probes)\b"), r"<n> \1"),
    (re.compile(r"\b02(:[0-9a-f]{2}){5}\b"), "<mac>"),
    (re.compile(r"time=<span>"), "time=…"),
    (re.compile(r"\s+"), " "),
)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command of a page, the host it is given on, and the lines shown below it."""

    host: str
    line: str
    shown: tuple[str, ...]


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A file on a host."""

    host: str
    path: str
    text: str


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that readers don't do: what, and its words."""

    what: str
    words: tuple[str, ...]


Step = Command | Text | Deed


def steps(page: str) -> Iterator[Step]:
    """What a page says to do, in its order."""
    target: list[tuple[str, str]] = []
    for match in _PART.finditer(page):
        comment, words, language, text = match.groups()
        if comment == "file":
            host, path = words.split()
            target.append((host, path))
        elif comment:
            yield Deed(what=comment, words=tuple(words.split()))
        elif target:
            yield from (Text(host=host, path=path, text=text) for host, path in target)
            target = []
        elif language == "console":
            yield from _commands(text)


def _commands(text: str) -> Iterator[Command]:
    host, line, shown = "", "", list[str]()
    for each in text.splitlines():
        if found := _PROMPT.match(each):
            if host:
                yield Command(host=host, line=line, shown=tuple(shown))
            (host, line), shown = found.groups(), []
        elif host and line.endswith("\\"):
            line = line[:-1] + each.strip()
        else:
            shown.append(each)
    if host:
        yield Command(host=host, line=line, shown=tuple(shown))


def kind(line: str) -> str:
    """A line with times, spans and ids replaced by what they are."""
    for pattern, by in _LOOSE:
        line = pattern.sub(by, line)
    return line.strip()


def alike(shown: list[str], came: list[str]) -> bool:
    """Whether lines that came are those shown; `…` is any text, alone on a line any lines. Empty lines don't count."""
    wanted = "".join(
        r"(?:.*\n)*?" if line.strip() == SKIP else r".*".join(re.escape(kind(part)) for part in line.split(SKIP)) + r"\n"
        for line in shown
        if line.strip()
    )
    return re.fullmatch(wanted, "".join(kind(line) + "\n" for line in came if line.strip())) is not None


class Walk:
    """Hosts with the tutorial's addresses, on which a page is tried."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts: dict[str, Host] = {}
        self.running: dict[tuple[str, str], Spawned] = {}
        self.came: list[str] = []
        self.second = ""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
        self.environment = {"PATH": path, "COLUMNS": "120", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}

    def host(self, name: str) -> Host:
        """The host of that name: made when it is first spoken of, with an /etc/keepalived and /etc/holdfast of its own."""
        if name not in self.hosts:
            made = self.lab.bare_host(name)
            octet = ADDRESSES[name].rpartition(".")[2]
            addresses = ((ADDRESSES[name], 24), (f"fe80::{octet}", 64))
            made.plug(Cable(port=made.port, interface="eth0", mac=made.mac, addresses=addresses))
            made.run("mount", "-t", "tmpfs", "tmpfs", "/etc/keepalived")
            self.hosts[name] = made
        return self.hosts[name]

    def inside(self, host: Host, address: str) -> None:
        """Plugs the host's eth1 into a second network, with this address of 10.0.0.0/24."""
        self.second = self.second or self.lab.switch(2)
        octet = int(address.rpartition(".")[2])
        host.plug(
            Cable(
                port=f"{host.port}i", interface="eth1", mac=f"02:00:00:00:01:{octet:02x}", switch=self.second,
                addresses=((address, 24), (f"fe80::1:{octet}", 64)),
            )
        )  # fmt: skip

    def bash(self, host: Host, line: str) -> list[str]:
        """What a command prints, errors too."""
        environment = [f"{name}={value}" for name, value in self.environment.items()]
        return host.run("env", *environment, "bash", "-c", f"{{ {line}\n}} 2>&1", seconds=60, check=False).splitlines()

    def do(self, step: Step) -> list[str]:
        """Does a step; the lines that came of it. AssertionError when they are not those shown."""
        match step:
            case Text(host=host, path=path, text=text):
                inner = f"mkdir -p {Path(path).parent} && cat > {path} && chmod {755 if text[:2] == '#!' else 644} {path}"
                self.host(host).run("bash", "-c", f"printf %s {shlex.quote(text)} | ({inner})")
            case Deed(what="lab", words=(deed, *hosts)):
                getattr(self.lab, deed)(*(self.host(name) for name in hosts))
            case Deed(what="lab-run", words=(host, *words)):
                self.running[host, words[0]] = self.host(host).spawn(*words, environment=self.environment)
            case Deed(what="lab-inside", words=(host, address)):
                self.inside(self.host(host), address)
            case Deed(what="lab-stop", words=(host, program)):
                self.running[host, program].signal(signal.SIGTERM)
                self.running[host, program].wait(PATIENCE_S)
            case Deed(what="lab-sh", words=(host, *words)):
                self.bash(self.host(host), " ".join(words))
            case Deed(what="lab-copy", words=(host, path, other, there)):
                text = "\n".join(self.bash(self.host(host), f"cat {path}"))
                self.do(Text(host=other, path=there, text=text + "\n"))
            case Command():
                return self.command(step)
            case _:
                raise AssertionError(step)
        return []

    def command(self, step: Command) -> list[str]:
        host, shown = self.host(step.host), list(step.shown)
        ask: Callable[[], list[str]]
        if step.line.endswith(" &"):
            words = shlex.split(step.line[:-2])
            spawned = self.running[step.host, words[0]] = host.spawn(*words, environment=self.environment)

            def ask() -> list[str]:
                return spawned.text().splitlines()

            shown = [*shown, SKIP]
        else:

            def ask() -> list[str]:
                return self.bash(host, step.line)

        patient = step.line.endswith(" &") or any(word in LOOKS for word in step.line.split()[:2])
        end = time.monotonic() + PATIENCE_S
        came = ask()
        while not alike(shown, came) and patient and time.monotonic() < end:
            time.sleep(0.1)
            came = ask()
        self.came = came
        wanted = "\n".join(step.shown)
        assert alike(shown, came), f"{step.host}# {step.line}\nshown:\n{wanted}\n\ncame:\n" + "\n".join(came)
        return came


def walk(page: Path) -> int:
    """Walks through a page; how many commands it has. AssertionError at the first that shows something else."""
    found = list(steps(page.read_text(encoding="utf-8")))
    with Lab() as lab:
        walking = Walk(lab)
        for step in found:
            walking.do(step)
    return sum(isinstance(step, Command) for step in found)


def filled(text: str, step: Command, came: list[str]) -> str:
    """A page with what came below the first such command that shows nothing."""
    empty = re.compile(rf"^{step.host}[#$] {re.escape(step.line)}\n(?=```|\w+[#$] )", re.MULTILINE)
    return empty.sub(lambda match: match.group(0) + "".join(f"{line.rstrip()}\n" for line in came), text, count=1)


def main() -> None:
    """Writes below each command that shows nothing what it prints; tells which show something else."""
    page = Path(sys.argv[1])
    text = page.read_text(encoding="utf-8")
    with Lab() as lab:
        walking = Walk(lab)
        for step in steps(text):
            try:
                walking.do(step)
            except AssertionError as other:
                if isinstance(step, Command) and not step.shown:
                    text = filled(text, step, walking.came)
                    page.write_text(text, encoding="utf-8")
                    continue
                print(other, flush=True)
            except subprocess.CalledProcessError as failed:
                print(failed, failed.stderr, flush=True)


if __name__ == "__main__":
    main()
