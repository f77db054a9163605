"""What `validate` and `plan` say of how often lists are asked."""

from control.operations import polls
from rowtide.definition.model import Document
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, compile_sync
from tests.integration.reconcile.bench import write_definition

COLUMNS = [SourceColumn("id", "integer", 23, True, key=1, has_default=True), SourceColumn("note", "text", 25, False)]


def of_lists(lists: int, direction: str = "both") -> tuple[Document, dict[str, CompiledSync]]:
    """A definition with one sync that has so many lists."""
    definition = write_definition(
        {
            "orders": {
                "source": {"postgres": "erp", "table": "public.orders"},
                "target": {"graph": "contoso", "site": "contoso.sharepoint.com:/sites/ops"},
                "lists": {"by": f"hash(id, {lists})", "name": "Orders {}"},
                "fields": {"note": "Title"},
            }
        }
    )
    sync = definition.syncs["orders"].model_copy(update={"direction": direction})
    return definition, {"orders": compile_sync("orders", sync, COLUMNS)}


def test_what_can_be_kept_is_said_and_no_warning() -> None:
    document, syncs = of_lists(2)
    found = polls.reckon(document, syncs)
    assert found.kept == [
        "graph contoso: 2 lists are asked for changes every 5 s while they change and every 5.3 s at rest, "
        "within 10% of the quota",
    ]
    assert found.unkept == []


def test_a_hundred_lists_of_the_smallest_tier_cannot_be_asked_each_minute() -> None:
    document, syncs = of_lists(100)
    found = polls.reckon(document, syncs)
    assert found.kept == []
    [said] = found.unkept
    assert "every 120 s each by polling" in said


def test_nobody_is_asked_where_all_syncs_push() -> None:
    document, syncs = of_lists(2, "push")
    assert polls.reckon(document, syncs) == polls.Polls([], [])
