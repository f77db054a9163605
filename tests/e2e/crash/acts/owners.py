"""What owners of lists do in SharePoint.

In: a `World`, a seeded generator. Out: the world, changed as by a person; what must not stay is left open there.
"""

import random
from contextlib import suppress
from typing import Any

from tests.e2e.crash.world import World


def add_an_item(world: World, rng: random.Random) -> bool:
    """A person adds an item of their own: nobody may touch it."""
    target = rng.choice(world.definition.targets())
    title = world.definition.shown[target]
    fields = {"Title": f"by hand {rng.randrange(1000)}", "Seq": rng.randrange(1000)}
    try:
        made = world.simulator.edit(list=title, fields=fields, user="Ann Person")
    except OSError:  # the list has just been deleted by another act
        return False
    world.strangers[made["list_id"], made["id"]] = fields
    return True


def edit_an_item(world: World, rng: random.Random) -> bool:
    """A person writes over what a row says; the push wins once the lists are read."""
    return _by_hand(world, rng, fields={"Title": f"edited {rng.randrange(1000)}"})


def delete_an_item(world: World, rng: random.Random) -> bool:
    """A person deletes the item of a row that is still there."""
    return _by_hand(world, rng, delete=True)


def take_a_key_away(world: World, rng: random.Random) -> bool:
    """A person empties the column that says which row an item is of, of an item that is on record.

    Of another one nothing says then whose it is (docs/limits.md).
    """
    recorded = set(world.stack.state("SELECT list_id, item_id FROM rowtide.ledger WHERE state = 'live'"))
    return _by_hand(world, rng, recorded, fields={"RowtideKey": None})


def _by_hand(world: World, rng: random.Random, of: set[tuple[Any, ...]] | None = None, **what: object) -> bool:
    ours = [item for item in world.simulator.items() if not item["deleted"] and item["fields"].get("RowtideKey")]
    if of is not None:
        ours = [item for item in ours if (item["list_id"], item["id"]) in of]
    if not ours:
        return False
    item = rng.choice(ours)
    try:
        world.simulator.edit(list=item["list"], item_id=item["id"], user="Ann Person", **what)
    except OSError:  # the flow has just deleted it
        return False
    world.edited.add(item["fields"]["RowtideKey"].partition(":")[0])
    return True


def rename_in_sharepoint(world: World, rng: random.Random) -> bool:
    """A person gives a list another title: it stays the target's, also after the next `apply`, which comes later."""
    if not world.can_apply() or "title" in world.open:
        return False
    target = rng.choice(world.definition.targets())
    title = f"{target.replace('/', ' ')} of theirs {rng.randrange(1000)}"
    if world.definition.shown[target] not in {one["displayName"] for one in world.lists()}:
        return False
    world.own("PATCH", world.definition.shown[target], body={"displayName": title})
    world.definition.shown[target] = title
    world.later("title", world.apply)
    return True


def delete_a_list(world: World, rng: random.Random) -> bool:
    """A person deletes a list; the operator applies again later.

    `status` may say idle for five minutes when nothing is written to it (docs/limits.md).
    """
    if not world.can_apply() or {"list", "column"} & world.open.keys():
        return False
    target = rng.choice(world.definition.targets())
    id_ = target.partition("/")[0]
    title = world.definition.shown[target]
    [there] = [one["id"] for one in world.lists() if one["displayName"] == title]
    world.own("DELETE", title)
    world.strangers = {place: fields for place, fields in world.strangers.items() if place[0] != there}
    world.definition.shown[target] = world.definition.titles[target]
    world.in_doubt.add(id_)

    def mend() -> None:
        world.apply()
        world.in_doubt.discard(id_)

    world.later("list", mend)
    return True


def _delete_column(world: World, target: str) -> None:
    """The column goes, and what it held, also in items of others."""
    world.own("DELETE", world.definition.shown[target], "/columns/Seq")
    for (list_id, _), fields in world.strangers.items():
        if list_id == world.list_id(target):
            fields.pop("Seq", None)


def change_a_columns_kind(world: World, rng: random.Random) -> bool:
    """A person makes a column of another kind in the place of a mapped one; the operator has it made anew later."""
    if not world.can_apply() or {"column", "list"} & world.open.keys():
        return False
    target = rng.choice(world.definition.targets())
    _delete_column(world, target)
    world.own("POST", world.definition.shown[target], "/columns", {"name": "Seq", "boolean": {}})
    id_ = target.partition("/")[0]
    world.in_doubt.add(id_)

    def mend() -> None:
        _delete_column(world, target)
        world.apply()
        world.in_doubt.discard(id_)

    world.later("column", mend)
    return True


def copy_an_item(world: World, rng: random.Random) -> bool:
    """A person lets two items have one key, and makes a second one; it is taken away again before `apply`."""
    if not world.can_apply() or {"list", "column"} & world.open.keys():
        return False
    target = rng.choice(world.definition.targets())
    title = world.definition.shown[target]
    keyed = [item["fields"] for item in world.simulator.items() if item["list"] == title and not item["deleted"]]
    keys = [fields["RowtideKey"] for fields in keyed if fields.get("RowtideKey")]
    if not keys:
        return False
    world.own("PATCH", title, "/columns/RowtideKey", {"enforceUniqueValues": False})
    fields = {"Title": f"a copy {rng.randrange(1000)}"}
    made = world.simulator.edit(list=title, fields={**fields, "RowtideKey": rng.choice(keys)}, user="Ann Person")
    world.edited.add(target.partition("/")[0])
    place = (made["list_id"], made["id"])
    world.strangers[place] = fields

    def mend() -> None:
        try:
            world.simulator.edit(list=place[0], item_id=place[1], delete=True, user="Ann Person")
        except OSError:  # it has become the item of a row that had none, and has gone with it
            pass
        del world.strangers[place]
        world.apply()

    world.later("copy", mend)
    return True


def mark_a_list(world: World, rng: random.Random) -> bool:
    """Another installation has marked a list; the operator takes it over later."""
    if not world.can_apply() or "list" in world.open:
        return False
    title = world.definition.shown[rng.choice(world.definition.targets())]
    world.own("PATCH", title, "/columns/RowtideKey", {"description": "[instance 1-another]"})

    def take_over() -> None:
        world.stack.write(world.definition.syncs())
        world.stack.command("apply", "--yes", "--take-over")

    world.later("mark", take_over)
    return True


def make_a_column_anew(world: World, rng: random.Random) -> bool:
    """A person deletes a mapped column and makes one of the same name and kind, which is empty."""
    if not world.can_apply() or {"column", "list", "copy"} & world.open.keys():
        return False
    target = rng.choice(world.definition.targets())
    _delete_column(world, target)
    world.own("POST", world.definition.shown[target], "/columns", {"name": "Seq", "number": {}})
    id_ = target.partition("/")[0]
    world.in_doubt.add(id_)

    def mend() -> None:
        world.apply()
        world.in_doubt.discard(id_)

    world.later("column", mend)
    return True


def lose_the_keys(world: World, rng: random.Random) -> bool:
    """A person deletes the column `RowtideKey`; the operator applies again later."""
    if not world.can_apply() or {"column", "list", "copy"} & world.open.keys():
        return False
    target = rng.choice(world.definition.targets())
    id_ = target.partition("/")[0]
    world.keys_lost.add(world.list_id(target))
    world.own("DELETE", world.definition.shown[target], "/columns/RowtideKey")
    world.in_doubt.add(id_)
    world.edited.add(id_)

    def mend() -> None:
        world.apply()
        world.in_doubt.discard(id_)

    world.later("column", mend)
    return True


def empty_a_list(world: World, rng: random.Random) -> bool:
    """A person deletes most items of a list; a deep reconcile makes them anew when a person has approved it."""
    if {"list", "deletes", "creates", "lists", "column"} & world.open.keys():
        return False
    title = world.definition.shown["crates"]
    ours = [item for item in world.items_of(title) if item["fields"].get("RowtideKey")]
    if len(ours) < 20:
        return False
    for item in rng.sample(ours, 3 * len(ours) // 4):
        with suppress(OSError):  # the flow has just deleted it
            world.simulator.edit(list=title, item_id=item["id"], user="Ann Person", delete=True)
    world.edited.add("crates")
    world.spawn("reconcile", world.definition.names["crates"], "--deep")
    world.later("creates", lambda: None)
    return True
