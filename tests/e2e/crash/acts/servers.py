"""What becomes of servers: they die, are restored from copies, are another's.

In: a `World`, a seeded generator. Out: the world, changed; what must not stay is left open there. Rule: of the source
and of the lists a copy is put back later, with whatever was done meanwhile; records that are put back are a card of
tests/e2e/crash/administration.py, because their process has to be started anew.
"""

import random
import shutil
import subprocess

import psycopg

from tests.e2e.crash import shop
from tests.e2e.crash.servers import Site
from tests.e2e.crash.world import World
from tests.e2e.stack import replace_text

ELSEWHERE = "of another server"
MANY_XIDS = "DO $$ BEGIN FOR i IN 1..30000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


def kill_the_source(world: World, rng: random.Random) -> bool:
    """The source's server dies and comes back."""
    world.kill_server(world.source)
    return True


def kill_the_state(world: World, rng: random.Random) -> bool:
    """The state database's server dies and comes back."""
    world.kill_server(world.state)
    return True


def lead_astray(world: World, rng: random.Random) -> bool:
    """The connection file names another server with the same tables: nothing of it is shown, and nothing is deleted."""
    if not world.can_apply() or "slot" in world.open:
        return False
    elsewhere = world.new_cluster().create_database("source")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute(shop.TABLES)
        connection.execute("INSERT INTO things SELECT i, i, 'a', %s FROM generate_series(1, 9) i", [ELSEWHERE])
        for table in ("swaps", "crates"):
            connection.execute(f"INSERT INTO {table} SELECT i, i, %s FROM generate_series(1, 3) i", [ELSEWHERE])
        connection.execute(MANY_XIDS)  # so that everything seems to be visible there
    there = world.keys()
    replace_text(world.connection_file, elsewhere)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    stream = "" if rng.random() < 0.5 else " AND backend_type = 'client backend'"
    world.sql(f"{others} AND application_name LIKE '%rowtide%'{stream}")
    read_all(world)

    def lead_back() -> None:
        replace_text(world.connection_file, world.stack.source_dsn)
        judge_astray(world, there)

    world.later("astray", lead_back)
    return True


def read_all(world: World) -> None:
    """Somebody asks for passes, which read the source."""
    world.stack.state("UPDATE rowtide.reconcile SET asked = asked + 1, state = 'wanted' WHERE state = 'done'")


def judge_astray(world: World, there: set[str]) -> None:
    """Whether anything of the other server has come to the lists."""
    shown = [item for item in world.simulator.items() if not item["deleted"]]
    foreign = [item["fields"]["RowtideKey"] for item in shown if item["fields"].get("Title") == ELSEWHERE]
    if foreign:
        world.findings.append(f"rows of another server are in the lists: {foreign[:5]}")
    still = {f"things:{id_}" for (id_,) in world.stack.sql("SELECT id FROM things WHERE seq >= 0")}
    gone = (there & still) - world.keys()
    if len(gone) > max(5, len(there) // 5):
        world.findings.append(f"{len(gone)} items were deleted because another server does not have their rows")


def start_a_copy(world: World, rng: random.Random) -> bool:
    """A copy of the records runs beside the original by mistake, and is ended later."""
    if not world.can_apply() or {"instance", "slot", "pause things"} & world.open.keys():
        return False
    number = len(world.others)
    dump, copy_dsn = world.directory / f"copy-{number}.dump", world.state.create_database(f"copy_{number}")
    copy_records(world, str(dump), copy_dsn)
    directory = world.directory / f"copy-{number}"
    directory.mkdir()
    other = world.stack_on(directory, world.stack.source_dsn, copy_dsn, world.stack.slot)
    world.others.append(other)
    other.start()
    world.later("instance", other.close)
    return True


def copy_records(world: World, dump: str, to: str) -> None:
    """The state database's records as they are now, in another database."""
    run_tool(world, "pg_dump", "-Fc", "-f", dump, "-d", world.stack.state_dsn)
    run_tool(world, "pg_restore", "-d", to, dump)


def run_tool(world: World, name: str, *words: str) -> None:
    """One of PostgreSQL's own tools, to its end."""
    subprocess.run([str(world.state.binaries / name), *words], check=True, capture_output=True)


def restore_the_source(world: World, rng: random.Random) -> bool:
    """A snapshot of the source's volume is taken, and put back later: what was committed in between is gone."""
    if world.source is world.state or not world.can_apply() or {"slot", "instance", "deletes"} & world.open.keys():
        return False
    snapshot = world.directory / "snapshot"
    _turn(world, world.source.data, snapshot)

    def put_back() -> None:
        _turn(world, snapshot, world.source.data)

    world.later("snapshot", put_back)
    return True


def _turn(world: World, source: object, target: object) -> None:
    world.workload.pause()
    world.source.stop()
    shutil.rmtree(str(target), ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
    world.source.start()
    world.workload.go_on()


def _is_in_order(world: World) -> bool:
    """Whether each item of ours has its key and is in a list of the definition: others nobody can explain later."""
    lists = {world.definition.shown[target] for target in world.definition.targets()}
    ours = (one for one in world.simulator.items() if (one["list_id"], one["id"]) not in world.strangers)
    return all(one["fields"].get("RowtideKey") and one["list"] in lists for one in ours if not one["deleted"])


def restore_the_lists(world: World, rng: random.Random) -> bool:
    """The lists are kept as they are, and put back later: what was written in between is gone."""
    if not isinstance(world.simulator, Site) or not world.can_apply() or {"list", "column", "key"} & world.open.keys():
        return False
    if not _is_in_order(world):
        return False
    site, shown, strangers = world.simulator, dict(world.definition.shown), dict(world.strangers)
    site.keep()

    def put_back() -> None:
        site.put_back()
        world.definition.shown, world.strangers = shown, strangers
        world.edited.update(world.definition.names)
        world.lists_unread = True

    world.later("lists", put_back)
    return True
