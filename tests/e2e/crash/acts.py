"""What database administrators, operators and the owners of lists do between commits, on a world that runs.

In: a `World`, a seeded generator. Out: the world, changed as by a person; what must not stay is left open there. Rule:
an act that finds nothing to act on does nothing and says so (False); none waits for the product to take notice.
"""

import random
from collections.abc import Callable

from tests.e2e.crash.definition import IDS
from tests.e2e.crash.world import World

Act = Callable[[World, random.Random], bool]

PUBLICATION = "rowtide_erp"


def _table(world: World, rng: random.Random, *names: str) -> str | None:
    free = world.free(*(names or IDS))
    return rng.choice(free) if free else None


# --- administrators of the database -----------------------------------------------------------------------------------


def truncate_and_reload(world: World, rng: random.Random) -> bool:
    """Every row goes, and comes back with another value, in one transaction."""
    table = _table(world, rng)
    if table is None:
        return False
    world.sql(
        f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM {table}",
        f"TRUNCATE {table}",
        "UPDATE kept SET seq = nextval('tick') WHERE seq > 0",
        f"INSERT INTO {table} SELECT * FROM kept",
    )
    return True


def truncate(world: World, rng: random.Random) -> bool:
    """Every row goes; half of them come back a moment later."""
    table = _table(world, rng, "swaps", "names", "lines")
    if table is None:
        return False
    world.sql(f"DROP TABLE IF EXISTS {table}_kept", f"CREATE TABLE {table}_kept AS SELECT * FROM {table}")
    world.sql(f"TRUNCATE {table}")
    beside = "" if table == "swaps" else "ON CONFLICT DO NOTHING"  # a deferrable key takes no such clause
    world.sql(f"INSERT INTO {table} SELECT * FROM {table}_kept WHERE seq % 2 = 0 {beside}")
    return True


def lose_a_column(world: World, rng: random.Random) -> bool:
    """A mapped column is dropped, and added again later."""
    if _table(world, rng, "things") is None:
        return False

    def add() -> None:
        world.sql("ALTER TABLE things ADD COLUMN flag boolean", "UPDATE things SET flag = id % 2 = 0 WHERE id % 3 > 0")

    world.sql("ALTER TABLE things DROP COLUMN flag")
    world.later("things", add)
    return True


def swap_by_rename(world: World, rng: random.Random) -> bool:
    """A copy with other values takes the table's name, and its place in the publication."""
    if _table(world, rng, "names") is None:
        return False
    world.sql(
        "LOCK TABLE names IN ACCESS EXCLUSIVE MODE",
        "CREATE TABLE names_new (LIKE names INCLUDING ALL)",
        "INSERT INTO names_new SELECT code, nextval('tick'), 'swapped ' || body FROM names WHERE length(code) <> 2",
        "ALTER TABLE names RENAME TO names_old",
        "ALTER TABLE names_new RENAME TO names",
        f"ALTER PUBLICATION {PUBLICATION} ADD TABLE names",
        "DROP TABLE names_old",
    )
    return True


def recreate(world: World, rng: random.Random) -> bool:
    """The table is dropped and created with some of its rows; the publication learns of it later."""
    if _table(world, rng, "lines") is None:
        return False
    world.sql(
        "LOCK TABLE lines IN ACCESS EXCLUSIVE MODE",
        "CREATE TABLE lines_new (LIKE lines INCLUDING ALL)",
        "INSERT INTO lines_new SELECT order_id, line_no, nextval('tick'), body FROM lines WHERE line_no <> 2",
        "DROP TABLE lines",
        "ALTER TABLE lines_new RENAME TO lines",
    )
    world.later("lines", lambda: world.sql(f"ALTER PUBLICATION {PUBLICATION} ADD TABLE lines"))
    return True


def unpublish(world: World, rng: random.Random) -> bool:
    """The table leaves the publication, and comes back later."""
    table = _table(world, rng)
    if table is None:
        return False
    world.sql(f"ALTER PUBLICATION {PUBLICATION} DROP TABLE {table}")
    world.later(table, lambda: world.sql(f"ALTER PUBLICATION {PUBLICATION} ADD TABLE {table}"))
    return True


def unpublish_for_a_moment(world: World, rng: random.Random) -> bool:
    """Out of the publication and back, with changes in between that are in no stream."""
    table = _table(world, rng)
    if table is None:
        return False
    world.sql(f"ALTER PUBLICATION {PUBLICATION} DROP TABLE {table}")
    world.sql(f"UPDATE {table} SET seq = nextval('tick'), body = 'not published' WHERE seq > 0 AND seq % 3 = 0")
    world.sql(f"ALTER PUBLICATION {PUBLICATION} ADD TABLE {table}")
    return True


def publish_inserts_only(world: World, rng: random.Random) -> bool:
    """The publication carries inserts only, and all again later."""
    if world.free(*IDS, "publication") != [*IDS, "publication"]:
        return False
    world.sql(f"ALTER PUBLICATION {PUBLICATION} SET (publish = 'insert')")
    every = f"ALTER PUBLICATION {PUBLICATION} SET (publish = 'insert, update, delete, truncate')"
    world.later("publication", lambda: world.sql(every))
    return True


def move_to_a_schema(world: World, rng: random.Random) -> bool:
    """The table is in another schema, and comes back later."""
    table = _table(world, rng, "swaps", "names", "lines")
    if table is None:
        return False
    world.sql("CREATE SCHEMA IF NOT EXISTS elsewhere", f"ALTER TABLE {table} SET SCHEMA elsewhere")
    world.sql(f"UPDATE elsewhere.{table} SET seq = nextval('tick') WHERE seq % 2 = 0")
    world.later(table, lambda: world.sql(f"ALTER TABLE elsewhere.{table} SET SCHEMA public"))
    return True


def convert(world: World, rng: random.Random) -> bool:
    """A column gets another type; every value is rewritten, and none is in the stream."""
    table = _table(world, rng, "swaps", "names", "lines")
    if table is None:
        return False
    wanted = rng.choice(["text", "varchar(400)"])
    world.sql(f"ALTER TABLE {table} ALTER COLUMN body TYPE {wanted} USING upper(body) || '.'")
    return True


def vacuum_full(world: World, rng: random.Random) -> bool:
    """The table is written anew, and nothing of it has changed."""
    table = _table(world, rng)
    if table is None:
        return False
    world.stack.sql(f"VACUUM FULL {table}")
    world.stack.sql(f"ANALYZE {table}")
    return True


def change_identity(world: World, rng: random.Random) -> bool:
    """REPLICA IDENTITY is another."""
    table = _table(world, rng, "things", "names", "lines")
    if table is None:
        return False
    world.sql(f"ALTER TABLE {table} REPLICA IDENTITY {rng.choice(['FULL', 'DEFAULT'])}")
    return True


def kill_the_source(world: World, rng: random.Random) -> bool:
    """The source's server dies and comes back."""
    world.kill_server(world.source)
    return True


def kill_the_state(world: World, rng: random.Random) -> bool:
    """The state database's server dies and comes back."""
    world.kill_server(world.state)
    return True


# --- operators --------------------------------------------------------------------------------------------------------


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
    if not _can_apply(world):
        return False
    world.apply()
    return True


def _can_apply(world: World) -> bool:
    """Whether `apply` would not refuse: every table fits, and no list is another installation's or has a key twice."""
    return not {*IDS, "publication", "mark", "copy"} & world.open.keys()


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
    if not _can_apply(world):
        return False
    target = rng.choice(world.definition.targets())
    world.definition.rename(target, f"{target.replace('/', ' ')} {rng.randrange(1000)}")
    return _apply(world)


def change_the_shards(world: World, rng: random.Random) -> bool:
    """A value is taken out of the map, or put back."""
    if not _can_apply(world):
        return False
    shards = world.definition.shards
    world.definition.shards = ["a", "b"] if "b" not in shards else ["a"]
    return _apply(world)


def another_slot(world: World, rng: random.Random) -> bool:
    """The source is read through another slot; the old one is dropped by hand later."""
    if "slot" in world.open or not _can_apply(world):
        return False
    old = world.stack.slot
    world.stack.slot = f"rowtide_{int(old.rpartition('_')[2]) + 1}"
    if not _apply(world):
        world.stack.slot = old
        return False
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{}' AND NOT active"
    world.later("slot", lambda: world.sql(drop.format(old)))
    return True


# --- owners of the lists ----------------------------------------------------------------------------------------------


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
    """A person empties the column that says which row an item is of."""
    return _by_hand(world, rng, fields={"RowtideKey": None})


def _by_hand(world: World, rng: random.Random, **what: object) -> bool:
    ours = [item for item in world.simulator.items() if not item["deleted"] and item["fields"].get("RowtideKey")]
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
    """A person gives a list another title: it stays the target's list, under the person's title."""
    target = rng.choice(world.definition.targets())
    title = f"{target.replace('/', ' ')} of theirs {rng.randrange(1000)}"
    if world.definition.shown[target] not in {one["displayName"] for one in world.lists()}:
        return False
    world.own("PATCH", world.definition.shown[target], body={"displayName": title})
    world.definition.shown[target] = title
    return True


def delete_a_list(world: World, rng: random.Random) -> bool:
    """A person deletes a list; the operator applies again later."""
    if not _can_apply(world) or {"list", "column"} & world.open.keys():
        return False
    target = rng.choice(world.definition.targets())
    title = world.definition.shown[target]
    [there] = [one["id"] for one in world.lists() if one["displayName"] == title]
    world.own("DELETE", title)
    world.strangers = {place: fields for place, fields in world.strangers.items() if place[0] != there}
    world.definition.shown[target] = world.definition.titles[target]
    world.later("list", world.apply)
    return True


def change_a_columns_kind(world: World, rng: random.Random) -> bool:
    """A person makes a column of another kind in the place of a mapped one; the operator has it made anew later."""
    if not _can_apply(world) or {"column", "list"} & world.open.keys():
        return False
    target = rng.choice(world.definition.targets())
    world.own("DELETE", world.definition.shown[target], "/columns/Seq")
    world.own("POST", world.definition.shown[target], "/columns", {"name": "Seq", "boolean": {}})
    id_ = target.partition("/")[0]
    world.in_doubt.add(id_)

    def mend() -> None:
        world.own("DELETE", world.definition.shown[target], "/columns/Seq")
        world.apply()
        world.in_doubt.discard(id_)

    world.later("column", mend)
    return True


def copy_an_item(world: World, rng: random.Random) -> bool:
    """A person lets two items have one key, and makes a second one; it is taken away again before `apply`."""
    if not _can_apply(world) or {"list", "column"} & world.open.keys():
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
        world.simulator.edit(list=place[0], item_id=place[1], delete=True, user="Ann Person")
        del world.strangers[place]
        world.apply()

    world.later("copy", mend)
    return True


def mark_a_list(world: World, rng: random.Random) -> bool:
    """Another installation has marked a list; the operator takes it over later."""
    if not _can_apply(world) or "list" in world.open:
        return False
    title = world.definition.shown[rng.choice(world.definition.targets())]
    world.own("PATCH", title, "/columns/RowtideKey", {"description": "[instance 1-another]"})

    def take_over() -> None:
        world.stack.write(world.definition.syncs())
        world.stack.command("apply", "--yes", "--take-over")

    world.later("mark", take_over)
    return True


ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (
        truncate_and_reload, truncate, lose_a_column, swap_by_rename, recreate, unpublish, unpublish_for_a_moment,
        publish_inserts_only, move_to_a_schema, convert, vacuum_full, change_identity, kill_the_source, kill_the_state,
        pause, pause_for_a_moment, apply_again, rename_a_sync, rename_a_list, change_the_shards, another_slot,
        add_an_item, edit_an_item, delete_an_item, take_a_key_away, rename_in_sharepoint, delete_a_list,
        read_the_lists, compare, change_a_columns_kind, copy_an_item, mark_a_list,
    )
}  # fmt: skip
