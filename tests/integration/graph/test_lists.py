"""Discovery and provisioning by msgraph-sdk against the simulator."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from connectors.graph import provisioning
from connectors.graph.list_schema import (
    AddChoices,
    FoundColumn,
    FoundList,
    HoldColumn,
    MakeColumn,
    MakeKey,
    MakeList,
    MendKey,
    WantedList,
    held_by,
    steps_to,
)
from rowtide.errors import GraphRefused, GraphUnavailable, IdentityRefused
from rowtide.keys import ROWTIDE_KEY
from rowtide.lists import KnownList, ListMark, ListState
from rowtide.mapping.columns import ListColumn
from tests.e2e.conftest import Simulator
from tests.integration.graph.conftest import COLUMNS, SITE, make_lists, settings_for

ALL = (
    ListColumn("Title", "text"),
    ListColumn("Code", "text"),
    ListColumn("Notes", "note"),
    ListColumn("Amount", "number"),
    ListColumn("Paid", "boolean"),
    ListColumn("At", "dateTime", "dateTime"),
    ListColumn("Day", "dateTime", "dateOnly"),
    ListColumn("Status", "choice", None, ("new", "done")),
    ListColumn("Word", "choice"),
)


def test_makes_lists_and_columns_once(sim: Callable[..., Simulator]) -> None:
    simulator = sim()
    settings = settings_for(simulator)
    wanted = [WantedList("Orders EU", ALL), WantedList("Orders US", ALL)]
    steps = provisioning.examine(settings, SITE, wanted)
    assert [type(step) for step in steps[:3]] == [MakeList, MakeKey, MakeColumn]
    made = provisioning.provision(settings, SITE, wanted)
    assert set(made.list_ids) == {"Orders EU", "Orders US"}
    assert made.done == [step.sentence for step in steps]
    assert provisioning.provision(settings, SITE, wanted) == replace(made, done=[])
    assert provisioning.discover(settings, [SITE])[SITE].by_title("ORDERS EU") is not None


def test_columns_are_what_was_asked_for(sim: Callable[..., Simulator]) -> None:
    simulator = sim()
    make = [WantedList("Orders", ALL)]
    provisioning.provision(settings_for(simulator), SITE, make)
    (orders,) = [one for one in simulator.ask("lists")["lists"] if one["displayName"] == "Orders"]
    columns = {one["name"]: one for one in orders["columns"]}
    key = columns[ROWTIDE_KEY]
    assert (key["hidden"], key["indexed"], key["enforceUniqueValues"]) == (True, True, True)
    assert columns["Day"]["dateTime"]["format"] == "dateOnly"
    assert columns["Notes"]["text"]["allowMultipleLines"] is True
    assert columns["Status"]["choice"]["choices"] == ["new", "done"]
    assert columns["Word"]["choice"]["allowTextEntry"] is True


def test_a_choice_column_gets_what_it_lacks(sim: Callable[..., Simulator]) -> None:
    settings = settings_for(sim())
    provisioning.provision(settings, SITE, [WantedList("Orders", (ListColumn("Status", "choice", None, ("new",)),))])
    more = [WantedList("Orders", (ListColumn("Status", "choice", None, ("done", "new")),))]
    (step,) = provisioning.examine(settings, SITE, more)
    assert isinstance(step, AddChoices)
    assert step.choices == ("new", "done")
    provisioning.provision(settings, SITE, more)
    assert provisioning.examine(settings, SITE, more) == []


def test_refuses_a_column_of_another_kind(sim: Callable[..., Simulator]) -> None:
    settings = settings_for(sim())
    make_lists(settings, "Orders")
    with pytest.raises(GraphRefused, match="column Amount of list 'Orders' cannot be used"):
        provisioning.examine(settings, SITE, [WantedList("Orders", (ListColumn("Amount", "boolean"),))])


def test_a_column_that_was_applied_and_fits_no_more_is_left_out() -> None:
    """A person has changed it since; where it is the definition that says otherwise now, it is refused."""
    key = FoundColumn("c0", ROWTIDE_KEY, "text", indexed=True, unique=True)
    found = {"Amount": FoundColumn("c2", "Amount", "boolean"), ROWTIDE_KEY: key}
    there = {"Orders": FoundList("l", "Orders", found)}
    wanted = [WantedList("Orders", (ListColumn("Amount", "number"),))]
    known = KnownList("l", "s", "orders", (), "Orders", ListState.APPLIED, {"Amount": "c1"}, {"Amount": "number"})
    why = "is a boolean column, and the definition says number"
    assert steps_to(there, wanted, known={"Orders": known}) == [HoldColumn("Orders", "Amount", why)]
    assert held_by(steps_to(there, wanted, known={"Orders": known}), "Orders").fields == {"Amount": why}
    for other in ({}, {"Amount": "dateTime"}):
        with pytest.raises(GraphRefused, match="column Amount of list 'Orders' cannot be used"):
            steps_to(there, wanted, known={"Orders": replace(known, kinds=other)})


def test_refuses_to_take_over_a_list_with_items_of_others(sim: Callable[..., Simulator]) -> None:
    simulator = sim()
    settings = settings_for(simulator)
    make_lists(settings, "Orders")
    simulator.edit(list="Orders", fields={"Title": "mine", ROWTIDE_KEY: "orders:1"})
    assert provisioning.examine(settings, SITE, [WantedList("Orders", COLUMNS)]) == []
    simulator.edit(list="Orders", fields={"Title": "by hand"})
    with pytest.raises(GraphRefused, match="items that Rowtide did not make"):
        provisioning.provision(settings, SITE, [WantedList("Orders", COLUMNS)])


def test_waits_while_throttled_and_repeats_no_lost_post(sim: Callable[..., Simulator]) -> None:
    simulator = sim()
    settings = settings_for(simulator)
    simulator.set_faults([{"method": "POST", "path": "/columns$", "status": 429, "retry_after": 1, "count": 1}])
    make_lists(settings, "Orders")
    simulator.set_faults([{"method": "POST", "path": "/lists$", "status": 503, "after_commit": True, "count": 5}])
    with pytest.raises(GraphUnavailable, match="503"):
        make_lists(settings, "Other")
    simulator.clear_faults()
    make_lists(settings, "Other")
    assert [one["displayName"] for one in simulator.ask("lists")["lists"]].count("Other") == 1


@pytest.mark.parametrize(
    ("rule", "error", "says"),
    [
        ({"status": 403, "path": "/lists$"}, GraphRefused, "403 accessDenied"),
        ({"status": 404, "path": "/sites/"}, GraphRefused, "404 itemNotFound"),
        ({"status": 500, "path": "/lists$"}, GraphUnavailable, "500"),
        ({"action": "reset", "path": "/lists$"}, GraphUnavailable, "does not answer"),
    ],
)
def test_says_what_is_wrong(
    sim: Callable[..., Simulator], rule: dict[str, object], error: type[Exception], says: str
) -> None:
    simulator = sim()
    simulator.set_faults([rule])
    with pytest.raises(error, match=says):
        provisioning.discover(settings_for(simulator), [SITE])


def test_a_wrong_secret_is_named(sim: Callable[..., Simulator]) -> None:
    with pytest.raises(IdentityRefused, match="AADSTS7000215"):
        provisioning.discover(settings_for(sim(), secret="wrong"), [SITE])


def test_a_key_that_is_not_unique_is_mended() -> None:
    key = FoundColumn("c1", ROWTIDE_KEY, "text", indexed=True)
    there = {"Orders": FoundList("l", "Orders", {ROWTIDE_KEY: key})}
    assert steps_to(there, [WantedList("Orders", ())]) == [MendKey("Orders", "c1", "")]


def test_a_list_is_marked_and_another_installation_refused(sim: Callable[..., Simulator]) -> None:
    settings, wanted = settings_for(sim()), [WantedList("Orders", COLUMNS)]
    provisioning.provision(settings, SITE, wanted)  # before marks were written
    mine, other = ListMark("1-a"), ListMark("2-b")
    assert [step.sentence for step in provisioning.examine(settings, SITE, wanted, mark=mine)] == [
        "list 'Orders': mark it as this installation's"
    ]
    provisioning.provision(settings, SITE, wanted, mark=mine)
    assert provisioning.examine(settings, SITE, wanted, mark=mine) == []
    with pytest.raises(GraphRefused, match=r"another installation of Rowtide \(1-a\)"):
        provisioning.provision(settings, SITE, wanted, mark=other)
    with pytest.raises(GraphRefused):
        provisioning.examine(settings, SITE, wanted, mark=ListMark(""))
    provisioning.provision(settings, SITE, wanted, mark=ListMark("2-b", take_over=True))
    assert provisioning.examine(settings, SITE, wanted, mark=other) == []
    new = [WantedList("Others", COLUMNS)]
    provisioning.provision(settings, SITE, new, mark=mine)
    assert provisioning.examine(settings, SITE, new, mark=mine) == []
