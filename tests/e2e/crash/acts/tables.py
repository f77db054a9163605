"""What database administrators do to tables and publications.

In: a `World`, a seeded generator. Out: the world, changed as by a person; what must not stay is left open there.
"""

import random

from tests.e2e.crash.definition import IDS
from tests.e2e.crash.world import World

PUBLICATION = "rowtide_erp"


def free_table(world: World, rng: random.Random, *names: str) -> str | None:
    """One of these tables (of all) that nobody has left open."""
    free = world.free(*(names or IDS))
    return rng.choice(free) if free else None


def truncate_and_reload(world: World, rng: random.Random) -> bool:
    """Every row goes, and comes back with another value, in one transaction."""
    table = free_table(world, rng)
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
    table = free_table(world, rng, "swaps", "names", "lines", "crates")
    if table is None:
        return False
    world.sql(f"DROP TABLE IF EXISTS {table}_kept", f"CREATE TABLE {table}_kept AS SELECT * FROM {table}")
    world.sql(f"TRUNCATE {table}")
    beside = "" if table == "swaps" else "ON CONFLICT DO NOTHING"  # a deferrable key takes no such clause
    world.sql(f"INSERT INTO {table} SELECT * FROM {table}_kept WHERE seq % 2 = 0 {beside}")
    return True


def lose_a_column(world: World, rng: random.Random) -> bool:
    """A mapped column is dropped, and added again later."""
    if free_table(world, rng, "things") is None:
        return False

    def add() -> None:
        world.sql("ALTER TABLE things ADD COLUMN flag boolean", "UPDATE things SET flag = id % 2 = 0 WHERE id % 3 > 0")

    world.sql("ALTER TABLE things DROP COLUMN flag")
    world.later("things", add)
    return True


def swap_by_rename(world: World, rng: random.Random) -> bool:
    """A copy with other values takes the table's name, and its place in the publication."""
    if free_table(world, rng, "names") is None:
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
    if free_table(world, rng, "lines") is None:
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
    table = free_table(world, rng)
    if table is None:
        return False
    world.sql(f"ALTER PUBLICATION {PUBLICATION} DROP TABLE {table}")
    world.later(table, lambda: world.sql(f"ALTER PUBLICATION {PUBLICATION} ADD TABLE {table}"))
    return True


def unpublish_for_a_moment(world: World, rng: random.Random) -> bool:
    """Out of the publication and back, with changes in between that are in no stream."""
    table = free_table(world, rng)
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
    table = free_table(world, rng, "swaps", "names", "lines")
    if table is None:
        return False
    world.sql("CREATE SCHEMA IF NOT EXISTS elsewhere", f"ALTER TABLE {table} SET SCHEMA elsewhere")
    world.sql(f"UPDATE elsewhere.{table} SET seq = nextval('tick') WHERE seq % 2 = 0")
    world.later(table, lambda: world.sql(f"ALTER TABLE elsewhere.{table} SET SCHEMA public"))
    return True


def convert(world: World, rng: random.Random) -> bool:
    """A column gets another type; every value is rewritten, and none is in the stream."""
    table = free_table(world, rng, "swaps", "names", "lines")
    if table is None:
        return False
    wanted = rng.choice(["text", "varchar(400)"])
    world.sql(f"ALTER TABLE {table} ALTER COLUMN body TYPE {wanted} USING upper(body) || '.'")
    return True


def vacuum_full(world: World, rng: random.Random) -> bool:
    """The table is written anew, and nothing of it has changed."""
    table = free_table(world, rng)
    if table is None:
        return False
    world.stack.sql(f"VACUUM FULL {table}")
    world.stack.sql(f"ANALYZE {table}")
    return True


def change_identity(world: World, rng: random.Random) -> bool:
    """REPLICA IDENTITY is another."""
    table = free_table(world, rng, "things", "names", "lines")
    if table is None:
        return False
    world.sql(f"ALTER TABLE {table} REPLICA IDENTITY {rng.choice(['FULL', 'DEFAULT'])}")
    return True


def delete_most(world: World, rng: random.Random) -> bool:
    """Three quarters of a table's rows go: their items stay until a person approves it."""
    if not world.free("crates") or {"deletes", "creates", "lists", "list", "snapshot"} & world.open.keys():
        return False
    victims = {f"crates:{id_}" for (id_,) in world.stack.sql("SELECT id FROM crates WHERE id % 4 > 0")}
    before = world.keys() & victims
    if len(before) < 20:
        return False
    world.sql("DELETE FROM crates WHERE id % 4 > 0")

    def judge() -> None:
        gone = before - world.keys()
        if len(gone) > len(before) // 2:
            world.findings.append(f"{len(gone)} of {len(before)} items were deleted and nobody was asked")

    world.later("deletes", judge)
    return True
