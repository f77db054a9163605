"""The generated definition."""

from dataclasses import replace

from ruamel.yaml import YAML

from control.operations import template
from rowtide.definition import model
from rowtide.mapping.columns import SourceColumn

COLUMNS = [
    SourceColumn("id", "bigint", 20, True, key=1),
    SourceColumn("order_no", "character varying(20)", 1043, True),
    SourceColumn("status", "mood", 9999, True, type_kind="e", enum_labels=("new", "it's")),
    SourceColumn("amount", "numeric(12,2)", 1700, True),
    SourceColumn("huge", "numeric(30,2)", 1700, True),
    SourceColumn("placed_at", "timestamp with time zone", 1184, True),
    SourceColumn("due_on", "date", 1082, False),
    SourceColumn("express", "boolean", 16, False),
    SourceColumn("remark", "text", 25, False),
    SourceColumn("photo", "bytea", 17, False),
    SourceColumn("created", "timestamp with time zone", 1184, False),
    SourceColumn("Odd name: yes", "text", 25, False),
    SourceColumn("odd_name_yes", "uuid", 2950, False),
]


def parsed(draft: template.Draft) -> model.Definition:
    return model.parse(YAML(typ="safe", pure=True).load(template.definition_text(draft)))


def test_the_example_is_valid() -> None:
    assert parsed(template.Draft()).syncs["orders"].list == "Orders"


def test_columns_get_the_kinds_that_hold_them() -> None:
    sync = template.propose("public.orders", COLUMNS)
    fields = parsed(template.Draft(syncs=[sync])).syncs["orders"].fields
    assert {column: (field.field, field.kind) for column, field in fields.items()} == {
        "order_no": ("Title", "text"),
        "status": ("Status", "choice"),
        "amount": ("Amount", "number"),
        "huge": ("Huge", "text"),
        "placed_at": ("PlacedAt", "dateTime"),
        "due_on": ("DueOn", "dateTime"),
        "express": ("Express", "boolean"),
        "remark": ("Remark", "note"),
        "created": ("RowCreated", "dateTime"),
        "Odd name: yes": ("OddNameYes", "note"),
        "odd_name_yes": ("OddNameYes2", "text"),
    }
    assert fields["due_on"].format == "dateOnly"
    assert fields["status"].choices == ("new", "it's")


def test_what_cannot_be_carried_is_a_comment_that_says_why() -> None:
    text = template.definition_text(template.Draft(syncs=[template.propose("public.orders", COLUMNS)]))
    assert "# photo: {field: Photo, as: text}  # photo is bytea, which a list cannot show; leave it out" in text
    assert "# id: {field: RowId, as: number}  # the key is carried by RowtideKey already" in text


def test_a_table_with_nothing_but_a_key_shows_the_key() -> None:
    sync = template.propose('sales."9 odd"', [SourceColumn("id", "integer", 23, True, key=1)])
    assert sync.name == "t_9_odd"
    assert [(field.column, field.name) for field in sync.fields] == [("id", "Title")]


def test_lists_where_and_a_simulator() -> None:
    sync = replace(
        template.EXAMPLE, lists='{by: region, map: {EU: "Orders EU"}, default: Orders}', where="status <> 'x'"
    )
    simulator = {"base_url": "http://127.0.0.1:1/v1.0", "authority": "https://127.0.0.1:2", "ca_file": "/tmp/ca.pem"}
    found = parsed(template.Draft(syncs=[sync], simulator=simulator))
    assert found.syncs["orders"].lists is not None
    assert found.syncs["orders"].where == "status <> 'x'"
    assert found.graph["contoso"].base_url == simulator["base_url"]
