"""What may go wrong in a cluster: the faults every cluster has, and the words in which people write their own.

    crash a; stop a; restart a [b …]; start a; kill a; stall a 10s; suspend a 10s
    link a eth0 [down|up]; script a check_web [fails|ok|hangs]
    cut a b; cut a>b; isolate a; heal
    switch a web [here|away]; release a web

Each may have `at 5s` before or behind it; several are separated by `;` or stand on lines of their own.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations

import msgspec

from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.sim.cluster import Cluster
from holdfast.sim.world import World

RESTART_NS: Nanoseconds = 300 * MILLISECOND
"""How long a daemon that is restarted is away (measured on a small host: 0.2 to 0.4 s)."""

VERBS = {
    "crash": "HOST …",
    "stop": "HOST …",
    "start": "HOST …",
    "restart": "HOST …",
    "kill": "HOST …",
    "stall": "HOST SPAN",
    "suspend": "HOST SPAN",
    "link": "HOST INTERFACE [down|up]",
    "script": "HOST SCRIPT [fails|ok|hangs], or a tracked process",
    "cut": "HOST HOST, or HOST>HOST for one way",
    "isolate": "HOST",
    "heal": "",
    "switch": "HOST INSTANCE [here|away]",
    "release": "HOST INSTANCE",
}

_UNITS = {"ms": MILLISECOND, "s": SECOND, "m": 60 * SECOND, "min": 60 * SECOND, "h": 3600 * SECOND}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h)?")


class ScenarioError(ValueError):
    """A scenario that can't be understood; the text says which words, and what may stand there."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing done to the cluster. `words` follow the verb; `at_ns` None: when the one before has settled."""

    verb: str
    words: tuple[str, ...] = ()
    span_ns: Nanoseconds = 0
    at_ns: Nanoseconds | None = None

    def text(self) -> str:
        """As one would write it."""
        words = list(self.words)
        if self.verb == "cut" and words[2:] == ["one way"]:
            words = [f"{words[0]}>{words[1]}"]
        if self.verb in ("stall", "suspend"):
            words.append(f"{self.span_ns / SECOND:g}s")
        return " ".join((self.verb, *words))


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that goes wrong, and how it is put right again (`heals` is empty where it passes by itself).

    `kind` groups the faults of one nature; `nodes` are those it befalls.
    """

    kind: str
    text: str
    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    heals: tuple[Step, ...] = ()

    @property
    def lasting(self) -> bool:
        """Whether it stays until it is put right."""
        return bool(self.heals)

    def script(self) -> str:
        """The tracking script that fails, or ""."""
        return self.steps[0].words[1] if self.kind == "script" else ""


def single_faults(cluster: Cluster) -> list[Fault]:
    """Every single fault of a cluster, by nature and then in the order of the hosts."""
    names = [node.name for node in cluster.nodes]
    stall_ns = -(-2 * cluster.longest_wait_ns() // SECOND) * SECOND
    found = [_on_node("crash", name) for name in names]
    found += [_on_node("stop", name) for name in names]
    for node in cluster.nodes:
        for interface in node.interfaces:
            found.append(_made("link", (node.name,), (node.name, interface.name), "down", "up"))
    for node in cluster.nodes:
        for script in node.plan.scripts:
            found.append(_made("script", (node.name,), (node.name, script.name), "fails", "ok"))
    found += _cuts(names)
    found += [_passing("restart", (name,)) for name in names]
    if len(names) > 1:
        found.append(_passing("restart", tuple(names)))
    found += [_passing("stall", (name,), stall_ns) for name in names]
    return found


def double_faults(faults: list[Fault]) -> list[tuple[Fault, Fault]]:
    """Every two of them, one after the other, where both can be seen: the first lasts, the second can still happen."""
    return [
        (first, second)
        for first, second in (_ordered(one, other) for one, other in combinations(faults, 2))
        if first.lasting and not _hidden(first, second)
    ]


def _ordered(one: Fault, other: Fault) -> tuple[Fault, Fault]:
    return (one, other) if one.lasting else (other, one)


def _hidden(first: Fault, second: Fault) -> bool:
    """Whether the second says nothing once the first is there: what befalls a host that is off, or again."""
    off = set(first.nodes) if first.kind in ("crash", "stop") else set()
    if first.kind == second.kind == "cut":
        return set(first.nodes) == set(second.nodes) and len(first.steps[0].words) == 2
    return bool(off & set(second.nodes))


def _on_node(verb: str, name: str) -> Fault:
    return Fault(
        kind=verb,
        text=f"{verb} {name}",
        nodes=(name,),
        steps=(Step(verb=verb, words=(name,)),),
        heals=(Step(verb="start", words=(name,)),),
    )


def _made(verb: str, nodes: tuple[str, ...], words: tuple[str, ...], bad: str, good: str) -> Fault:
    step = Step(verb=verb, words=(*words, bad))
    return Fault(
        kind=verb, text=step.text(), nodes=nodes, steps=(step,), heals=(Step(verb=verb, words=(*words, good)),)
    )


def _passing(verb: str, names: tuple[str, ...], span_ns: Nanoseconds = 0) -> Fault:
    step = Step(verb=verb, words=names, span_ns=span_ns)
    return Fault(kind=verb, text=step.text(), nodes=names, steps=(step,))


def _cuts(names: list[str]) -> Iterator[Fault]:
    heal = (Step(verb="heal"),)
    pairs = list(combinations(names, 2))
    for a, b in pairs:
        for words in ((a, b), (a, b, "one way"), (b, a, "one way")):
            step = Step(verb="cut", words=words)
            yield Fault(kind="cut", text=step.text(), nodes=words[:2], steps=(step,), heals=heal)
    for name in names:
        step = Step(verb="isolate", words=(name,))
        yield Fault(kind="isolate", text=step.text(), nodes=(name,), steps=(step,), heals=heal)


# ---- doing it -------------------------------------------------------------------------------------------------------


def carry_out(world: World, step: Step) -> str:
    """Do it to the world; what was refused, or ""."""
    words = step.words
    match step.verb:
        case "crash" | "stop" | "start" | "kill":
            for name in words:
                getattr(world, step.verb)(name)
        case "restart":
            for name in words:
                world.stop(name)
            for name in words:
                world.later(RESTART_NS, lambda name=name: world.start(name))  # type: ignore[misc]
        case "stall":
            world.stall(words[0], step.span_ns)
        case "suspend":
            world.suspend(words[0], step.span_ns)
        case "link":
            world.link(words[0], words[1], words[2] == "up")
        case "script":
            world.script(words[0], words[1], {"ok": True, "fails": False}.get(words[2]))
        case "cut":
            world.cut(words[0], words[1], both=len(words) == 2)
        case "isolate":
            world.isolate(words[0])
        case "heal":
            world.heal()
        case "switch" | "release":
            direction = words[2] if step.verb == "switch" else "release"
            return world.switch(words[0], words[1], direction).error or ""
        case _:
            raise AssertionError(f"no step {step.verb}")
    return ""


def takes_ns(step: Step) -> Nanoseconds:
    """How long it goes on by itself."""
    return RESTART_NS if step.verb == "restart" else step.span_ns


# ---- reading it -----------------------------------------------------------------------------------------------------


def read_scenario(text: str, cluster: Cluster) -> tuple[Step, ...]:
    """The steps of a scenario, in the order of their times; ScenarioError."""
    steps = []
    for number, line in enumerate(text.split("\n"), 1):
        for statement in re.split(r"[;,]", line.partition("#")[0]):
            if statement.split():
                try:
                    steps.append(_step(statement.split(), cluster))
                except ScenarioError as wrong:
                    where = f"line {number}: " if "\n" in text.strip() else ""
                    raise ScenarioError(f"{where}{' '.join(statement.split())!r}: {wrong}") from None
    if not steps:
        raise ScenarioError("no step in it: write one a line, `at 5s crash HOST`")
    timed = [step for step in steps if step.at_ns is not None]
    if timed and len(timed) != len(steps):
        raise ScenarioError("some steps have a time and some have none: give each one `at SPAN`, or none")
    return tuple(sorted(steps, key=lambda step: step.at_ns or 0))


def fault_of(text: str, cluster: Cluster) -> Fault | None:
    """The fault that one step without a time is, with what puts it right; None for anything else. ScenarioError."""
    steps = read_scenario(text, cluster)
    step = steps[0]
    if len(steps) > 1 or step.at_ns is not None:
        return None
    known = {fault.steps[0]: fault for fault in single_faults(cluster)}
    if step in known:
        return known[step]
    heals: dict[str, tuple[Step, ...]] = {
        "crash": (Step(verb="start", words=step.words),),
        "stop": (Step(verb="start", words=step.words),),
        "kill": (Step(verb="start", words=step.words),),
        "cut": (Step(verb="heal"),),
        "isolate": (Step(verb="heal"),),
        "link": (Step(verb="link", words=(*step.words[:2], "up")),),
        "script": (Step(verb="script", words=(*step.words[:2], "ok")),),
        "switch": (Step(verb="release", words=step.words[:2]),),
    }
    names = {node.name for node in cluster.nodes}
    nodes = tuple(word for word in step.words if word in names)
    return Fault(kind=step.verb, text=step.text(), nodes=nodes, steps=steps, heals=heals.get(step.verb, ()))


def _step(words: list[str], cluster: Cluster) -> Step:
    at_ns: Nanoseconds | None = None
    if words[0] == "at" and len(words) > 2:
        at_ns, words = span(words[1]), words[2:]
    elif "at" in words[1:-1] and words[-2] == "at":
        at_ns, words = span(words[-1]), words[:-2]
    verb, *rest = words
    if verb not in VERBS:
        raise ScenarioError(f"no fault {verb!r}: there are {', '.join(VERBS)}")
    names = _names(cluster)
    wanted = ScenarioError(f"write {f'{verb} {VERBS[verb]}'.strip()}, a HOST being one of {', '.join(names)}")
    span_ns = 0
    if verb in ("stall", "suspend"):
        if len(rest) != 2:
            raise wanted
        span_ns = span(rest.pop())
    if verb == "cut":
        joined = " ".join(rest).replace("->", ">")
        one_way = ">" in joined
        rest = joined.replace(">", " ").split()
        if len(rest) != 2 or len({names.get(word, word) for word in rest}) != 2:
            raise wanted
        done = tuple(_host(word, names) for word in rest) + (("one way",) if one_way else ())
    elif verb in ("crash", "stop", "start", "restart", "kill"):
        done = tuple(_host(word, names) for word in rest)
        if not done:
            raise wanted
    elif verb == "heal":
        if rest:
            raise wanted
        done = ()
    else:
        done = _about_one(verb, rest, names, cluster, wanted)
    return Step(verb=verb, words=done, span_ns=span_ns, at_ns=at_ns)


def _about_one(
    verb: str, rest: list[str], names: Mapping[str, str], cluster: Cluster, wanted: ScenarioError
) -> tuple[str, ...]:
    """The words of a step that befalls one host, and one thing on it."""
    forms: dict[str, tuple[int, tuple[str, ...]]] = {
        "stall": (1, ()),
        "suspend": (1, ()),
        "isolate": (1, ()),
        "link": (2, ("down", "up")),
        "script": (2, ("fails", "ok", "hangs")),
        "switch": (2, ("here", "away")),
        "release": (2, ()),
    }
    least, endings = forms[verb]
    if len(rest) < least or len(rest) > least + bool(endings):
        raise wanted
    node = cluster.node(_host(rest[0], names))
    if least == 2:
        plan = node.plan
        there = {
            "link": [interface.name for interface in node.interfaces],
            "script": [one.name for some in (plan.scripts, plan.processes, plan.bfd) for one in some],
        }.get(verb, [config.name for config in node.plan.instances])
        if rest[1] not in there:
            raise ScenarioError(f"{node.name} has no {rest[1]!r}: it has {', '.join(there) or 'none'}")
    ending = [rest[least] if len(rest) > least else endings[0]] if endings else []
    if not set(ending) <= set(endings):
        raise ScenarioError(f"{ending[0]!r}: say {' or '.join(endings)}")
    return (node.name, *rest[1:least], *ending)


def _names(cluster: Cluster) -> dict[str, str]:
    """What hosts may be called: by their names, and by the letters a, b, c … in the order of the files."""
    names = {node.name: node.name for node in cluster.nodes}
    for number, node in enumerate(cluster.nodes[:26]):
        names.setdefault("abcdefghijklmnopqrstuvwxyz"[number], node.name)
    return names


def _host(word: str, names: Mapping[str, str]) -> str:
    if word not in names:
        raise ScenarioError(f"no host {word!r}: there are {', '.join(dict.fromkeys(names.values()))}")
    return names[word]


def span(word: str) -> Nanoseconds:
    """A span as people write it: 5s, 250ms, 2m, 1.5 (seconds); ScenarioError."""
    found = _SPAN.fullmatch(word)
    if found is None:
        raise ScenarioError(f"{word!r} is no span of time: write 5s, 250ms or 2m")
    return round(float(found[1]) * _UNITS[found[2] or "s"])
