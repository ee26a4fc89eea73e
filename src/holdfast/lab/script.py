"""Runs a lab from configuration files: a script to its end, or a prompt."""

import contextlib
import sys
from collections.abc import Iterator, Sequence

from holdfast.config.check import Environment, read_file
from holdfast.config.disk import ElsewhereDisk
from holdfast.lab.hosts import Lab
from holdfast.lab.session import CommandError, NotSoError, Session, Teller
from holdfast.lab.site import MAKES, Site, SiteError
from holdfast.sim.cluster import build_cluster
from holdfast.sim.reading import read_elsewhere

PROMPT = "lab> "


class LabError(Exception):
    """The lab can't be built; the text says why and what helps."""


@contextlib.contextmanager
def opened(
    files: Sequence[tuple[str, str]], makes: dict[str, str], teller: Teller, real: bool = False
) -> Iterator[Session]:
    """A lab of (name, file) of each host; all of it is gone at the end. LabError."""
    read, texts = [], {}
    for name, path in files:
        checked = read_elsewhere(path, name)
        if checked.verdict == "refused" or not checked.plan.instances:
            first = next((problem.text() for problem in checked.problems if problem.grade == "error"), "")
            why = "can't be used" if checked.verdict == "refused" else "has no vrrp_instance that would run"
            raise LabError(f"{path} {why}: {first or 'run `holdfast check` on it'}")
        read.append((name, path, checked.plan))
        environment = Environment(config_id=name)
        texts[name] = read_file(path, environment, ElsewhereDisk()).preprocessor.result.texts
    for name, make in makes.items():
        if name not in texts:
            raise LabError(f"--on {name}={make}: there is no host {name!r}: there are {', '.join(texts)}")
        if make not in MAKES:
            raise LabError(f"--on {name}={make}: a host runs {' or '.join(MAKES)}")
    with Lab() as lab:
        try:
            site = Site(lab, build_cluster(read), texts, makes, real)
        except SiteError as wrong:
            raise LabError(str(wrong)) from None
        session = Session(site, teller)
        try:
            yield session
        finally:
            for probe in session.probes.values():
                probe.finish()


def statements(text: str) -> Iterator[tuple[int, str]]:
    """(line number, command) of a script; `;` parts commands but in `title`, `say` and `run`."""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        whole = bare.split(" ", 1)[0] in ("title", "say", "run", "report") or bare.startswith("#")
        for one in [bare] if whole else bare.split(";"):
            if one.strip():
                yield number, one.strip()


def run_script(session: Session, text: str, called: str, teller: Teller) -> bool:
    """Run it to its end; False when something was not so or not understood, said with its line."""
    for number, command in statements(text):
        try:
            session.run(command)
        except (CommandError, NotSoError) as wrong:
            teller.fact("failed", f"{called}:{number}: {command}: {wrong}", good=False, line=number)
            return False
        if session.ended:
            break
    return True


def prompt(session: Session, teller: Teller) -> None:
    """Commands from the terminal, with history and completion, the drawing after each."""
    import readline

    words = [*session.commands, *session.site.routers]
    words += [config.name for router in session.site.routers.values() for config in router.node.plan.instances]
    words += [script.name for router in session.site.routers.values() for script in router.node.plan.scripts]

    def complete(begun: str, state: int) -> str | None:
        fitting = [word for word in dict.fromkeys(words) if word.startswith(begun)]
        return f"{fitting[state]} " if state < len(fitting) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")
    quiet = {"help", "log", "status", "why", "notes", "show", "watch", "run", "quit"}
    print(session.picture())
    while not session.ended:
        try:
            line = input(PROMPT)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print("\n`quit` ends the lab")
            continue
        for _, command in statements(line):
            try:
                session.run(command)
            except (CommandError, NotSoError) as wrong:
                teller.fact("failed", str(wrong), good=False)
            except KeyboardInterrupt:
                print("\nstopped waiting")
        if line.split() and line.split()[0] not in quiet:
            print(session.picture())


def from_input(session: Session, teller: Teller) -> bool:
    """Commands from a pipe, one a line, as they come."""
    fine = True
    for number, line in enumerate(sys.stdin, 1):
        fine = run_script(session, line, f"input line {number}", teller) and fine
        if session.ended or not fine:
            break
    return fine
