"""Which recovery stores are resumed from, which are made anew, and who may have the directory."""

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from flows.recovery import PARTS, Store
from rowtide.errors import Unavailable, UserError

NAMES = ["rowtide", "wal-erp", "merge-erp"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "recovery"


def write(part: Path, *statements: str) -> None:
    connection = sqlite3.connect(part)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def close_epoch(directory: Path, epoch: int, parts: range = range(PARTS)) -> None:
    """What the engine writes at the end of an epoch: the frontier to one partition, the epoch to each."""
    write(directory / "part-1.sqlite3", "INSERT OR IGNORE INTO exs VALUES (datetime(), 0, 1, 1)")
    write(directory / "part-2.sqlite3", f"INSERT OR REPLACE INTO fronts VALUES (datetime(), 0, 0, {epoch + 1})")
    for part in parts:
        statement = f"INSERT OR REPLACE INTO commits VALUES (datetime(), {part}, {epoch})"
        write(directory / f"part-{part}.sqlite3", statement)


def open_once(directory: Path, names: list[str] = NAMES) -> bool:
    """Whether a process that starts now makes the store anew."""
    store = Store(directory)
    store.open(names)
    store.close()
    return store.fresh


def test_a_store_is_made_once_and_then_resumed_from(directory: Path) -> None:
    assert open_once(directory)
    assert not open_once(directory)
    close_epoch(directory, 7)
    assert not open_once(directory)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_kill_between_two_partitions_is_resumed_from(directory: Path) -> None:
    open_once(directory)
    close_epoch(directory, 7)
    close_epoch(directory, 8, range(2))
    assert not open_once(directory)


@pytest.mark.parametrize("part", range(PARTS))
def test_an_old_copy_of_one_partition_is_seen(part: int, directory: Path, tmp_path: Path) -> None:
    open_once(directory)
    close_epoch(directory, 7)
    copy = shutil.copy(directory / f"part-{part}.sqlite3", tmp_path)
    close_epoch(directory, 9)
    shutil.copy(copy, directory)
    assert open_once(directory)


def lose_one(directory: Path) -> None:
    (directory / "part-3.sqlite3").unlink()


def spoil_one(directory: Path) -> None:
    (directory / "part-0.sqlite3").write_bytes(b"no database" * 1000)


def forget_the_run(directory: Path) -> None:
    """Epochs were closed, and no execution is known that could have closed them."""
    write(directory / "part-1.sqlite3", "DELETE FROM exs")


def leave_half_made(directory: Path) -> None:
    (directory / "shape").unlink()


@pytest.mark.parametrize("harm", [lose_one, spoil_one, forget_the_run, leave_half_made])
def test_a_store_of_no_use_is_made_anew_once(harm: Callable[[Path], None], directory: Path) -> None:
    open_once(directory)
    close_epoch(directory, 7)
    harm(directory)
    assert open_once(directory)
    assert not open_once(directory)


def test_another_shape_of_the_flow_makes_it_anew(directory: Path) -> None:
    open_once(directory)
    assert open_once(directory, ["rowtide", "wal-other"])


def test_a_condemned_store_is_made_anew_once(directory: Path) -> None:
    store = Store(directory)
    store.open(NAMES)
    store.open(NAMES)
    assert not store.fresh
    store.condemn("UnpicklingError")
    store.open(NAMES)
    assert store.fresh
    store.close()
    assert not open_once(directory)


def test_whether_the_flow_got_going_is_seen_from_the_store(directory: Path) -> None:
    open_once(directory)
    close_epoch(directory, 7)
    store = Store(directory)
    store.open(NAMES)
    assert not store.has_moved()
    close_epoch(directory, 8)
    assert store.has_moved()
    store.close()


def test_a_directory_that_cannot_hold_a_store_is_a_mistake_to_mend(directory: Path) -> None:
    directory.write_text("a file")
    for path in (directory, directory / "below"):
        with pytest.raises(UserError, match="cannot be used") as caught:
            Store(path).open(NAMES)
        assert caught.value.code == "recovery_dir_unusable"
        assert caught.value.remedy


def test_a_directory_in_use_is_waited_for(directory: Path) -> None:
    first, second = Store(directory), Store(directory)
    first.open(NAMES)
    with pytest.raises(Unavailable, match="Another process uses"):
        second.open(NAMES)
    first.close()
    second.open(NAMES)
    assert not second.fresh
    second.close()


def open_to_a_group(directory: Path) -> None:
    directory.chmod(0o770)


def open_to_all(directory: Path) -> None:
    directory.chmod(0o707)


def lead_elsewhere(directory: Path) -> None:
    """A link: whoever made it chooses the directory."""
    directory.rename(directory.with_name("moved"))
    directory.symlink_to(directory.with_name("moved"))


def give_away(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    os.chown(directory, 65534, -1)


@pytest.mark.parametrize("harm", [open_to_a_group, open_to_all, lead_elsewhere, give_away])
def test_a_store_that_others_may_have_written_is_not_touched(harm: Callable[[Path], None], directory: Path) -> None:
    """What is in it is unpickled, which is to run it."""
    open_once(directory)
    before = sorted(one.name for one in directory.iterdir())
    harm(directory)
    with pytest.raises(UserError, match="cannot be used") as caught:
        Store(directory).open(NAMES)
    assert caught.value.code == "recovery_dir_unusable"
    assert sorted(one.name for one in directory.iterdir()) == before


def test_a_store_of_another_release_is_made_anew(directory: Path) -> None:
    open_once(directory)
    release = json.loads((directory / "shape").read_text())
    assert release["release"] == metadata.version("rowtide")
    (directory / "shape").write_text(json.dumps({**release, "release": "0.0.1"}))
    assert open_once(directory)
    assert not open_once(directory)


def test_of_processes_that_begin_at_once_one_has_the_directory(directory: Path) -> None:
    stores = [Store(directory) for _ in range(8)]
    begin = threading.Barrier(len(stores))
    refused: list[BaseException] = []

    def start(store: Store) -> None:
        begin.wait(30)
        try:
            store.open(NAMES)
        except Unavailable as error:
            refused.append(error)

    threads = [threading.Thread(target=start, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 7
    assert [store.fresh for store in stores].count(True) == 1
    for store in stores:
        store.close()
