"""Scenes: one thing is done to a cluster in which all is well, and exactly this must come of it.

Each gives whether it took place: some need what the cluster at hand doesn't have (a backup, a script …).
"""

from collections.abc import Callable

import msgspec

from holdfast.base.address import Address
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.sim.life import Life
from holdfast.sim.promises import SLACK, check_span, check_still, down, longest_down, require, skew, transitions
from holdfast.vrrp.config import OWNER, InstanceConfig

ONE = "exactly one backup takes over"
IN_TIME = "it takes over within the protocol's times"
NO_GAP = "nobody misses the address while it moves"


def _pick(life: Life) -> tuple[str, str] | None:
    """An instance and its master."""
    found = [(instance, master) for instance, master in sorted(life.masters.items()) if master is not None]
    return life.chance.choice(found) if found else None


def _config(life: Life, node: str, instance: str) -> InstanceConfig:
    config = life.expected.config(node, instance)
    assert config is not None
    return config


def _vip(life: Life, node: str, instance: str) -> Address:
    return _config(life, node, instance).addresses[0].address


# ---- a master is lost ------------------------------------------------------------------------------------------------


def lose_the_master(life: Life) -> bool:
    """Crash, clean stop, link or script; and back."""
    picked = _pick(life)
    if picked is None:
        return False
    instance, node = picked
    world, chance = life.world, life.chance
    interface = _config(life, node, instance).interface
    scripts = world.hosts[node].plan.scripts
    way = chance.choice(("crash", "stop", "link", "script") if scripts else ("crash", "stop", "link"))
    world.remark(f"scene: {node}, master of {instance}, is lost ({way})")
    world.run(chance.randrange(3 * SECOND))
    before, since, at = dict(life.masters), len(world.history), world.now
    if way == "crash":
        world.crash(node)
    elif way == "stop":
        world.stop(node)
    elif way == "link":
        world.link(node, interface, False)
    else:
        world.script(node, scripts[0].name, False)
    life.settle(before)
    for name, master in before.items():
        if master != node:
            require(not transitions(world, since, name), "nothing flaps without cause", f"{name} is not {node}'s")
        elif not life.expected.healthy(node, name):
            told = way == "stop" or way == "script"
            if way == "script":  # its word counts from when it has failed often enough
                at = next(at for at, who in transitions(world, since, name, "FAULT") if who == node)
            _taken_over(life, name, since, at, told or not _by_link(life, node, name, way))
        else:
            _moved(life, name, since, at, node)
    _bring_back(life, node, way, interface)
    return True


def _by_link(life: Life, node: str, instance: str, way: str) -> bool:
    """Whether the master could not say that it leaves: it is off, or the wire itself is down."""
    return way == "crash" or not life.world.hosts[node].interfaces[_config(life, node, instance).interface].up


def _taken_over(life: Life, instance: str, since: int, at: Nanoseconds, told: bool) -> None:
    """The best of the others took over, in the protocol's time; `told`: the master could resign."""
    expected = life.expected
    candidates = expected.candidates(instance)
    entered = transitions(life.world, since, instance)
    if not candidates:
        require(not entered, ONE, f"{instance}: {entered}, and nobody could")
        return
    best = candidates[0]
    if expected.tied(instance):
        return
    require([who for _, who in entered] == [best], ONE, f"{instance}: {entered}, not {best}")
    config = _config(life, best, instance)
    together = [_config(life, best, name) for name in expected.companions(instance)]
    waits = [(each, expected.priority(best, each.name)) for each in together]
    if told:
        at_once = config.group is None and len(config.unicast_peers) == 1
        least = 0 if at_once else skew(config, expected.priority(best, instance))
        most = 0 if at_once and len(together) == 1 else max(skew(each, priority) for each, priority in waits)
        if len(together) > 1:  # a member that cannot be told, for its wire is down, waits its whole interval
            most = max(down(each, priority) for each, priority in waits)
    else:
        least = down(config, expected.priority(best, instance)) - config.adver_interval_ns
        most = max(down(each, priority) for each, priority in waits)
    check_span(IN_TIME, f"{instance} to {best}", entered[0][0] - at, least - SLACK, most + SLACK)
    outages = life.world.outages(_vip(life, best, instance), at)
    require(len(outages) <= 1, IN_TIME, f"{instance}: {len(outages)} outages")


def _moved(life: Life, instance: str, since: int, at: Nanoseconds, incumbent: str) -> None:
    """Whoever may take the addresses from a master that is well has done so, and nobody missed them."""
    expected = life.expected
    wanted = expected.masters(instance, incumbent)
    entered = [who for _, who in transitions(life.world, since, instance)]
    # when preempt_delay ends, some wait one advert longer than others, as it falls before or after its end
    together = [n for n in expected.candidates(instance) if expected.takes_from(n, instance, incumbent)]
    race = len(together) > 1 and _config(life, incumbent, instance).preempt_delay_ns
    if len(wanted) == 1 and not race:
        require(entered == ([] if wanted == [incumbent] else wanted), ONE, f"{instance}: {entered} from {incumbent}")
    _without_gap(life, instance, incumbent, at)


def _without_gap(life: Life, instance: str, node: str, since_ns: Nanoseconds) -> None:
    vip = _vip(life, node, instance)
    outages = life.world.outages(vip, since_ns)
    require(not outages, NO_GAP, f"{instance}: {outages}")
    together: Nanoseconds = sum(end - begin for begin, end in life.world.overlaps(vip, since_ns))
    check_span("two hold it for no longer than an advert travels", instance, together, 0, SLACK)


def _bring_back(life: Life, node: str, way: str, interface: str) -> None:
    """It returns: it takes back if and only if it may."""
    world = life.world
    before, since, at = dict(life.masters), len(world.history), world.now
    if way in ("crash", "stop"):
        world.start(node)
    elif way == "link":
        world.link(node, interface, True)
    else:
        world.script(node, world.hosts[node].plan.scripts[0].name, True)
    life.settle(before)
    for instance, incumbent in before.items():
        if incumbent is None or life.expected.config(node, instance) is None:
            continue
        _moved(life, instance, since, at, incumbent)
        entered = transitions(world, since, instance)
        delay = _config(life, node, instance).preempt_delay_ns
        if entered and delay:
            check_span("preempt_delay is waited", instance, entered[0][0] - at, delay, delay + life.wait_ns)


# ---- everybody -------------------------------------------------------------------------------------------------------


def _race(life: Life, instance: str, nodes: list[str]) -> bool:
    """Whether the best priority of these is that of several, who then take over at the same moment."""
    each = sorted(life.expected.priority(node, instance) for node in nodes)
    return len(each) > 1 and each[-1] == each[-2]


def restart(life: Life) -> bool:
    """The master is restarted: it has one master throughout but for the skew, and in the end the right one."""
    picked = _pick(life)
    if picked is None:
        return False
    node = picked[1]
    world = life.world
    world.remark(f"scene: {node} is restarted")
    before, since = dict(life.masters), len(world.history)
    world.restart(node, life.chance.choice((0, 0, 50 * MILLISECOND, 3 * SECOND)))
    others = {name: [n for n in life.expected.candidates(name) if n != node] for name in before}
    incumbents = {name: (others[name][:1] or [node])[0] if who == node else who for name, who in before.items()}
    loose = {name for name in before if before[name] == node and _race(life, name, others[name])}
    life.settle({name: who for name, who in incumbents.items() if name not in loose})
    for name, who in before.items():
        entered = transitions(world, since, name)
        if name not in loose:
            require(len(entered) <= (2 if who == node else 0), ONE, f"{name}: {entered}")
    return True


def restart_all(life: Life) -> bool:
    """All at the same instant, or nearly."""
    world, chance = life.world, life.chance
    world.remark("scene: all are restarted")
    crash = chance.random() < 0.5
    for node in life.nodes:
        (world.crash if crash else world.stop)(node)
    world.run(chance.choice((0, SECOND)))
    for node in life.nodes:
        world.start(node)
        world.run(chance.choice((0, MILLISECOND, 400 * MILLISECOND)))
    life.settle()
    return True


def partition(life: Life) -> bool:
    """Cut in two: each side has its master; healed: the better one of the two is left."""
    world, chance = life.world, life.chance
    if len(life.nodes) < 2:
        return False
    side = chance.sample(life.nodes, chance.randrange(1, len(life.nodes)))
    world.remark(f"scene: {' '.join(side)} cut off from the others")
    for one in side:
        for other in life.nodes:
            if other not in side:
                world.cut(one, other, both=True)
    before = dict(life.masters)
    world.run(life.wait_ns)
    winners: dict[str, str | None] = {}
    for instance, incumbent in before.items():
        masters = []
        for part in (side, [node for node in life.nodes if node not in side]):
            candidates = [node for node in life.expected.candidates(instance) if node in part]
            here = [node for node in world.masters(instance) if node in part]
            what = f"{instance}: {here} of {candidates}"
            require(len(here) == min(len(candidates), 1), "each side has a master", what)
            if incumbent in part:
                require(here == [incumbent], "nothing flaps without cause", f"{instance}: {here}, not {incumbent}")
            masters += here
        winners[instance] = max(masters, key=lambda node: life.expected.rank(node, instance), default=None)
    since = len(world.history)
    world.heal()
    life.settle(winners)
    for instance in before:
        entered = transitions(world, since, instance)
        require(not entered, "a cut heals without another election", f"{instance}: {entered}")
    return True


def one_way(life: Life) -> bool:
    """One host does not hear another any more; then it does."""
    world = life.world
    if len(life.nodes) < 2:
        return False
    one, other = life.chance.sample(life.nodes, 2)
    world.remark(f"scene: {other} doesn't hear {one}")
    world.cut(one, other)
    world.run(life.wait_ns)
    world.heal()
    life.settle()
    return True


# ---- frozen ----------------------------------------------------------------------------------------------------------


def stall(life: Life) -> bool:
    """A master not run for so long that a peer takes over steps back when it goes on; a short stall is nothing."""
    picked = _pick(life)
    if picked is None:
        return False
    world, chance, expected = life.world, life.chance, life.expected
    node = picked[1]
    mine = [instance for instance, master in life.masters.items() if master == node]
    configs = [_config(life, node, instance) for instance in mine]
    if chance.random() < 0.3:
        span = min(config.adver_interval_ns for config in configs) * 3 // 10
        world.remark(f"scene: {node} is stalled for a moment")
        since = len(world.history)
        world.stall(node, span)
        life.settle(dict(life.masters))
        check_still(world, since, "a short stall")
        return True
    if any(config.priority == OWNER for config in configs):
        return False  # an owner goes on
    span = max(longest_down(config) for config in life.plans[node].instances) + 2 * SECOND
    world.remark(f"scene: {node} is stalled")
    before = dict(life.masters)
    world.stall(node, span)
    world.run(span)
    others = {name: expected.candidates(name) for name in mine}
    since, at = len(world.history) - 1, world.now
    world.run(min(config.adver_interval_ns for config in configs))
    for instance in mine:
        rivals = [n for n in others[instance] if n != node]
        if rivals:
            entered = transitions(world, since, instance)
            require(not entered, "who was frozen listens before it speaks", f"{instance}: {entered}")
            overlaps = world.overlaps(_vip(life, node, instance), at)
            check_span("who was frozen steps back at once", instance, sum(e - b for b, e in overlaps), 0, SLACK)
    for name in mine:
        rivals = [n for n in others[name] if n != node]
        before[name] = rivals[0] if rivals else node
    loose = {name for name in mine if expected.tied(name)}
    life.settle({name: who for name, who in before.items() if name not in loose})
    return True


def suspend(life: Life) -> bool:
    """The whole machine stands still, its clock too."""
    picked = _pick(life)
    if picked is None:
        return False
    node = life.chance.choice((picked[1], life.chance.choice(life.nodes)))
    world = life.world
    world.remark(f"scene: {node} is suspended")
    world.suspend(node, life.chance.choice((2 * SECOND, life.wait_ns)))
    world.run(life.wait_ns)
    life.settle()
    return True


# ---- by hand ---------------------------------------------------------------------------------------------------------


def hand_over_here(life: Life) -> bool:
    """A backup is told to take over: at once, without a gap, and it holds against everybody until released."""
    picked = _pick(life)
    if picked is None:
        return False
    instance, master = picked
    world, chance, expected = life.world, life.chance, life.expected
    backups = [node for node in expected.candidates(instance) if node != master]
    together = expected.companions(instance)
    owned = any(config.priority == OWNER for config in world.configs(_vip(life, master, instance)).values())
    top = expected.priority(master, instance)
    if not backups or owned or top == OWNER - 1:
        return False
    node = chance.choice(backups)
    before, since, at = dict(life.masters), len(world.history), world.now
    world.remark(f"scene: {instance} is handed over to {node}")
    answer = world.switch(node, instance, "here")
    require(answer.done, "a hand-over that can be done is done", f"{instance}: {answer.error}")
    for name in together:
        highest = max(expected.priority(str(before[name]), name) + 1, expected.priority(node, name))
        expected.held[node, name] = min(highest, OWNER - 1)
    world.run(SLACK)
    for name in together:
        require(world.masters(name) == [node], "a hand-over is done at once", f"{name}: {world.masters(name)}")
        _without_gap(life, name, node, at)
    since = len(world.history)
    disturb = chance.choice((None, master, node))
    if disturb == master:
        world.restart(master, chance.choice((0, 5 * SECOND)))
    elif disturb == node:
        life.reload(node)
    world.run(life.wait_ns)
    for name in together:
        require(not transitions(world, since, name), "hand-overs hold", f"{name}: {transitions(world, since, name)}")
        require(world.masters(name) == [node], "hand-overs hold", f"{name}: {world.masters(name)}")
    expected.held.clear()
    world.release(node, instance)
    at = world.now
    moved: dict[str, str | None] = {name: node if name in together else who for name, who in before.items()}
    if disturb == master:
        life.settle()
    else:
        life.settle(moved)
        for name in together:
            _without_gap(life, name, node, at)
    return True


def hand_over_away(life: Life) -> bool:
    """A master is told to go: it serves until another has taken over, and doesn't come back until released."""
    picked = _pick(life)
    if picked is None:
        return False
    instance, node = picked
    world, expected = life.world, life.expected
    together = expected.companions(instance)
    rest = [n for n in expected.candidates(instance) if n != node]
    configs = [_config(life, node, name) for name in together]
    delay = max(config.preempt_delay_ns for config in configs)
    lowest = any(expected.priority(n, name) <= 1 for n in rest for name in together)
    if not rest or delay or lowest or expected.priority(node, instance) == OWNER:
        return False
    world.remark(f"scene: {node} hands {instance} over")
    before, since, at = dict(life.masters), len(world.history), world.now
    require(world.switch(node, instance, "away").done, "a hand-over that can be done is done", instance)
    world.run(life.wait_ns)
    for name in together:
        _without_gap(life, name, node, at)
        entered = [who for _, who in transitions(world, since, name)]
        if not configs[0].preempt:
            require(entered == [], "who finds nobody stays master", f"{name}: {entered}")
        elif not expected.tied(name):
            require(entered == [rest[0]], ONE, f"{name}: {entered}, not {rest[0]}")
    after: dict[str, str | None] = {name: next(iter(world.masters(name)), None) for name in before}
    since = len(world.history)
    world.run(20 * SECOND)
    check_still(world, since, "while it is held")
    world.release(node, instance)
    at = world.now
    life.settle(after)
    for name in together:
        _without_gap(life, name, node, at)
    return True


def reload_same(life: Life) -> bool:
    """A reload of the same configuration changes nothing at all; nor does a step of the wall clock."""
    world = life.world
    node = life.chance.choice(life.nodes)
    world.remark(f"scene: {node} reloads what it has")
    since = len(world.history)
    world.clock_step(node, -3600 * SECOND)
    life.reload(node)
    life.settle(dict(life.masters))
    check_still(world, since, "a reload that changed nothing")
    return True


def reload_priority(life: Life) -> bool:
    """The master is told a lower priority: a better one takes over if it may; and back."""
    picked = _pick(life)
    if picked is None:
        return False
    instance, node = picked
    world, plan = life.world, life.plans[picked[1]]
    if _config(life, node, instance).priority == OWNER:
        return False
    world.remark(f"scene: {node} is told priority 10")
    together = life.expected.companions(instance)
    lower = tuple(
        msgspec.structs.replace(config, priority=10) if config.name in together else config
        for config in plan.instances
    )
    for given in (msgspec.structs.replace(plan, instances=lower), plan):
        before, since, at = dict(life.masters), len(world.history), world.now
        life.reloaded_at[node] = world.now
        world.reload(node, given)
        life.settle(before)
        for name in together:
            _moved(life, name, since, at, str(before[name]))
    return True


def lose_address(life: Life) -> bool:
    """Somebody removes the address from the master: it is put back at once, and nothing else happens."""
    picked = _pick(life)
    if picked is None:
        return False
    instance, node = picked
    since = len(life.world.history)
    life.world.lose(node, _vip(life, node, instance))
    require(life.world.holders(instance) == [node], "the addresses are where the master is", instance)
    life.settle(dict(life.masters))
    check_still(life.world, since, "an address put back")
    return True


def storm(life: Life) -> bool:
    """Many things at once, in bad weather."""
    life.storm()
    return True


Scene = Callable[[Life], bool]

SCENES: list[tuple[str, Scene]] = [
    ("a master is lost", lose_the_master),
    ("a master is lost", lose_the_master),
    ("a master is lost", lose_the_master),
    ("restart", restart),
    ("all restart", restart_all),
    ("partition", partition),
    ("one-way cut", one_way),
    ("stall", stall),
    ("suspend", suspend),
    ("hand-over here", hand_over_here),
    ("hand-over away", hand_over_away),
    ("reload of the same", reload_same),
    ("reload of a priority", reload_priority),
    ("address removed", lose_address),
    ("storm", storm),
    ("storm", storm),
]
