"""What differs between two definitions."""

from control.operations.differences import differences


def test_nothing_applied() -> None:
    assert differences(None, {"version": 1}) == ["nothing is applied yet: everything is new"]


def test_added_removed_changed() -> None:
    old = {"syncs": {"a": {"list": "A", "where": "x"}, "b": {"list": "B"}}, "version": 1}
    new = {"syncs": {"a": {"list": "A2"}, "c": {"list": "C"}}, "version": 1}
    assert differences(old, new) == [
        '~ syncs.a.list: "A" -> "A2"',
        '- syncs.a.where: "x"',
        '- syncs.b: {"list": "B"}',
        '+ syncs.c: {"list": "C"}',
    ]


def test_equal() -> None:
    assert differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}) == []


def test_large_sections_are_counted() -> None:
    assert differences({}, {"a": dict.fromkeys("wxyz", 1)}) == ["+ a: {4 keys}"]
