"""What is said of rows and syncs that do not go on: by `reconcile`, `status`, `parked` and `doctor`.

In: one stack that nothing runs at first; its state database is on a server of its own. Rule: whatever stands still has
a sentence, and a row that cannot be carried is parked under its key while its neighbours go on.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import TABLE, Stack, wait_until

SYNC = """
  parts:
    source: {postgres: erp, table: public.parts}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Parts
    fields: {name: Title, note: {field: Note, as: note}, weight: {field: Weight, as: number}}
"""


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Applied, and never run yet; a gap stops it."""
    weight, rows = (
        "ALTER TABLE parts ADD COLUMN weight numeric",
        "INSERT INTO parts (id, name) SELECT i, 'part ' || i FROM generate_series(1, 3) i",
    )

    def edit(definition: str) -> str:
        return definition.replace("heartbeat: 1s", "heartbeat: 1s, on_gap: stop")

    with shared_stack(pg, state_server, "said", [TABLE, weight, rows], SYNC, edit) as stack:
        yield stack


def titles(stack: Stack) -> dict[str, str]:
    """RowtideKey -> title of every item."""
    live = [item["fields"] for item in stack.simulator.items() if not item["deleted"]]
    return {fields["RowtideKey"]: fields["Title"] for fields in live}


def parked(stack: Stack) -> dict[str, str]:
    """Row key -> code, as `rowtide parked list` has them."""
    found = json.loads(stack.command("parked", "list", "--json", check=False).stdout)
    return {row["key"]: row["reason_code"] for row in found["parked"]}


def test_a_reconcile_that_nobody_can_begin_says_why(stack: Stack) -> None:
    """Nothing has captured yet, so the slot has no cursor: the pass waits for a process."""
    spoken = stack.command("reconcile", "parts", check=False)
    assert spoken.returncode == 3
    assert "rowtide run" in spoken.stdout
    found: dict[str, Any] = json.loads(stack.command("reconcile", "parts", "--json", check=False).stdout)
    assert not found["done"]
    assert "rowtide run" in str(found["waits"])


def test_a_row_that_the_state_database_refuses_is_parked_by_a_reconcile(stack: Stack) -> None:
    stack.state(
        "ALTER TABLE rowtide.outbox ADD CONSTRAINT refused CHECK (fields IS NULL OR fields ->> 'Title' <> 'part 2')"
    )
    stack.start()
    wait_until(lambda: len(titles(stack)) == 2, "the neighbours have arrived")
    wait_until(lambda: parked(stack) == {"2": "state_refuses_row"}, "the refused row is parked under its key")
    [parts] = stack.status()["syncs"]
    assert parts["parked"] == 1
    stack.state("ALTER TABLE rowtide.outbox DROP CONSTRAINT refused")
    stack.command("parked", "retry", "parts", "2")
    wait_until(lambda: titles(stack).get("parts:2") == "part 2", "the row has arrived")


def test_a_numeric_that_no_double_holds_is_parked(stack: Stack) -> None:
    """It would arrive as 0."""
    stack.sql("UPDATE parts SET weight = '1e-400' WHERE id = 1")
    stack.sql("UPDATE parts SET weight = '0.00' WHERE id = 3")
    wait_until(lambda: parked(stack) == {"1": "type_unrepresentable"}, "the row is parked")
    wait_until(
        lambda: (
            [i["fields"].get("Weight") for i in stack.simulator.items() if i["fields"]["RowtideKey"] == "parts:3"]
            == [0]
        ),
        "nought has arrived",
    )


def test_doctor_names_what_a_recreated_publication_has_cost(stack: Stack) -> None:
    process = stack.processes[-1]
    assert stack.stop(process) == 0
    stack.sql("DROP PUBLICATION rowtide_erp")
    stack.sql("CREATE PUBLICATION rowtide_erp FOR TABLE parts")
    found = json.loads(stack.command("doctor", "--json", check=False).stdout)["checks"]
    said = [one for one in found if one["name"] == "continuity"]
    assert [one["level"] for one in said] == ["failure"]
    assert "publication" in said[0]["sentence"]
    assert "on_gap: heal" in said[0]["remedy"]
