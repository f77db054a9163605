"""What operators do: commands of `rowtide`, and changes of the definition.

In: a `World`, a seeded generator. Out: the world, changed as by a person; what must not stay is left open there.
"""

import random

from tests.e2e.crash.definition import IDS
from tests.e2e.crash.late_apply import Late
from tests.e2e.crash.world import World


def pause(world: World, rng: random.Random) -> bool:
    """A sync is paused, and resumed later."""
    free = world.free(*(f"pause {id_}" for id_ in IDS))
    if not free:
        return False
    what = rng.choice(free)
    id_ = what.split()[1]
    world.stack.command("pause", world.definition.names[id_])
    world.later(what, lambda: _resume(world, id_))
    return True


def _resume(world: World, id_: str) -> None:
    world.stack.command("resume", world.definition.names[id_], check=False)  # something else may hold it still


def pause_for_a_moment(world: World, rng: random.Random) -> bool:
    """Paused and resumed at once."""
    if not pause(world, rng):
        return False
    what, undo = world.open.popitem()
    assert what.startswith("pause")
    undo()
    return True


def apply_again(world: World, rng: random.Random) -> bool:
    """The same definition is applied once more."""
    return _apply(world)


def _apply(world: World) -> bool:
    if not world.can_apply():
        return False
    world.apply()
    return True


def read_the_lists(world: World, rng: random.Random) -> bool:
    """A deep reconcile is asked for, and goes on beside whatever comes."""
    world.spawn("reconcile", world.definition.names[rng.choice(IDS)], "--deep")
    return True


def compare(world: World, rng: random.Random) -> bool:
    """`rowtide diff`, beside whatever comes."""
    world.spawn("diff", world.definition.names[rng.choice(IDS)])
    return True


def rename_a_sync(world: World, rng: random.Random) -> bool:
    """A sync has another name, and its id."""
    id_ = rng.choice(IDS)
    if f"pause {id_}" in world.open:
        return False
    old = world.definition.names[id_]
    world.definition.names[id_] = f"{id_}_{rng.randrange(1000)}"
    if not _apply(world):
        world.definition.names[id_] = old
        return False
    return True


def rename_a_list(world: World, rng: random.Random) -> bool:
    """The definition gives a list another title."""
    if not world.can_apply():
        return False
    target = rng.choice(world.definition.targets())
    before = world.list_id(target)
    world.definition.rename(target, f"{target.replace('/', ' ')} {rng.randrange(1000)}")
    world.apply()
    if before is not None and world.list_id(target) != before:
        world.findings.append(f"the list of {target} was made anew because the definition gave it another title")
    return True


def change_the_shards(world: World, rng: random.Random) -> bool:
    """A value is taken out of the map, or put back."""
    if not world.can_take_lists_away():
        return False
    shards = world.definition.shards
    world.definition.shards = ["a", "b"] if "b" not in shards else ["a"]
    return _apply(world)


def another_slot(world: World, rng: random.Random) -> bool:
    """The source is read through another slot; the old one is dropped by hand later."""
    if "slot" in world.open or not world.can_apply():
        return False
    old = world.stack.slot
    world.stack.slot = f"rowtide_{int(old.rpartition('_')[2]) + 1}"
    if not _apply(world):
        world.stack.slot = old
        return False
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{}' AND NOT active"
    world.later("slot", lambda: world.sql(drop.format(old)))
    return True


def change_it_beside_another(world: World, rng: random.Random) -> bool:
    """Two people change the definition: the later one, who planned on what was in force before, is refused."""
    if not world.can_take_lists_away():
        return False
    shards, titles, shown = list(world.definition.shards), dict(world.definition.titles), dict(world.definition.shown)
    world.definition.shards = ["a", "b"] if "b" not in shards else ["a"]
    late = Late(world)
    world.definition.shards, world.definition.titles, world.definition.shown = shards, titles, shown
    try:
        late.wait_for_the_question()
        if not rename_a_list(world, rng):
            return False
        said = late.agree()
    finally:
        late.close()
    if said == 0:
        world.findings.append("a definition was put into force that had been planned on an older one")
    return True
