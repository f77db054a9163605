"""The page in a real browser: what a person changes there, a client sees in delta."""

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: make deps")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def test_a_person_edits_adds_and_deletes(running: Any, page: Page, eventually: Callable[..., Any]) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("By hand")
    simulator.client.post(orders + "/items", json={"fields": {"Title": "first", "RowtideKey": "k"}})
    link = simulator.client.get(orders + "/items/delta?token=latest").json()["@odata.deltaLink"]
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(simulator.ready["ui_url"])
    page.get_by_label("You are").fill("Ann Person")
    page.locator("td[data-field=Title]").click()
    page.get_by_label("Title").fill("<b>changed</b>")
    page.get_by_label("Title").press("Enter")
    expect(page.locator("tbody tr")).to_contain_text("Ann Person")
    page.get_by_role("button", name="Add an item").click()
    page.locator("#draft").get_by_label("Amount").fill("12.5")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("tbody tr:not(.gone)")).to_have_count(2)
    changed = simulator.client.get(link + "&$expand=fields").json()
    by_id = {entry["id"]: entry for entry in changed["value"]}
    assert by_id["1"]["fields"]["Title"] == "<b>changed</b>"
    assert by_id["1"]["lastModifiedBy"]["user"]["displayName"] == "Ann Person"
    assert by_id["2"]["fields"]["Amount"] == 12.5
    simulator.client.patch(orders + "/items/2/fields", json={"Amount": 99})
    expect(page.locator("tbody")).to_contain_text("99")
    page.locator("tr[data-id='1']").get_by_role("button", name="Delete").click()
    expect(page.locator("tbody tr:not(.gone)")).to_have_count(1)
    latest = simulator.client.get(changed["@odata.deltaLink"]).json()["value"]
    assert [entry["id"] for entry in latest if "deleted" in entry] == ["1"]
    page.locator("tr:not(.gone) td[data-field=Amount]").click()
    page.get_by_label("Amount").fill("much")
    page.get_by_label("Amount").press("Enter")
    expect(page.get_by_role("status")).to_have_text("Amount is a number")
    assert problems == []


@pytest.fixture
def board(running: Any) -> Any:
    """Two lists of deals, one with every kind of value that the page shows in its own way; their addresses."""
    simulator = running.sign_in()
    simulator.addresses = {}
    extra = [
        {"name": "Stage", "displayName": "Sales stage", "choice": {"choices": ["won", "lost"]}},
        {"name": "Owner", "displayName": "Owner", "personOrGroup": {}},
        {"name": "Paid", "boolean": {}},
        {"name": "Secret", "text": {}, "hidden": True},
    ]
    for title in ("Deals north", "Deals south"):
        address = simulator.make_list(title)
        for column in extra:
            assert simulator.client.post(address + "/columns", json=column).status_code == 201
        simulator.addresses[title] = address
    yield simulator
    for address in simulator.addresses.values():
        simulator.client.delete(address)


def _open(page: Page, simulator: Any, title: str) -> None:
    page.goto(simulator.ready["ui_url"])
    page.locator(".panel .list").first.select_option(label=title)


def _titles(page: Page) -> list[str]:
    return page.locator("tbody tr:not(.gone) td[data-field=Title]").all_inner_texts()


def test_it_shows_what_a_business_user_sees(board: Any, page: Page, eventually: Callable[..., Any]) -> None:
    items = board.addresses["Deals north"] + "/items"
    for n in range(3):
        board.client.post(items, json={"fields": {"Title": f"deal {n}", "Stage": "won", "Paid": True, "Secret": "s"}})
    owner = board.order("edit", {"list": "Deals north", "fields": {"Title": "by hand"}, "user": "Ann Person"})
    number = next(one["id"] for one in board.control.get("/people").json()["people"] if one["name"] == "Ann Person")
    board.client.patch(f"{items}/{owner['id']}/fields", json={"OwnerLookupId": str(number)})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    _open(page, board, "Deals north")
    expect(page.get_by_role("columnheader", name="Sales stage")).to_be_visible()
    expect(page.locator("tbody .pill").first).to_have_text("won")
    expect(page.locator("td[data-field=Owner] .person")).to_contain_text("Ann Person")
    expect(page.locator("td[data-field=Paid]").filter(has_text="Yes")).to_have_count(3)
    expect(page.locator("td.when").first).to_have_text(re.compile("just now|seconds ago|minute"))
    expect(page.get_by_role("columnheader", name="Secret")).to_have_count(0)
    page.get_by_label("Hidden columns").check()
    expect(page.get_by_role("columnheader", name="Secret")).to_be_visible()
    # The newest change is on top, of an old row too.
    board.client.patch(f"{items}/1/fields", json={"Title": "changed again"})
    eventually(lambda: _titles(page)[:1] == ["changed again"])
    assert all(url.startswith(board.ready["ui_url"]) for url in requests)


MARKUP = '<img src=x onerror="window.ran=1"><svg onload="window.ran=1"></svg><a href="javascript:window.ran=1">a</a>'


def test_markup_in_what_people_write_is_shown_and_does_nothing(board: Any, page: Page) -> None:
    """In values, choices, people's names, the names of columns and lists, and a note of what was refused."""
    column = {"name": "Marked", "displayName": f"Marked {MARKUP}", "text": {}}
    for title in ("Deals north", f"Deals {MARKUP}"):
        address = board.addresses.setdefault(title, "") or board.make_list(title)
        board.addresses[title] = address
        assert board.client.post(address + "/columns", json=column).status_code == 201
        fields = {"Title": MARKUP, "Marked": f'"> {MARKUP}'}
        assert board.client.post(address + "/items", json={"fields": fields}).status_code == 201
    board.order("edit", {"list": "Deals north", "fields": {"Title": "by hand"}, "user": f"Ann {MARKUP}"})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    for title in board.addresses:
        if MARKUP in title or title == "Deals north":
            _open(page, board, title)
            expect(page.get_by_role("columnheader", name="Marked")).to_be_visible()
            expect(page.locator("tbody tr:not(.gone) td[data-field=Title]").last).to_have_text(MARKUP)
    page.get_by_label("You are").fill(f"Bo {MARKUP}")
    page.locator("td[data-field=Title]").first.click()
    page.get_by_label("Title").fill(f"edited {MARKUP}")
    page.get_by_label("Title").press("Enter")
    expect(page.locator("td[data-field=Title]").first).to_have_text(f"edited {MARKUP}")
    assert page.locator("img[src=x], svg[onload], a[href^=javascript]").count() == 0
    assert page.evaluate("window.ran") is None
    assert problems == []


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("übung", {"1"}),
        ("ÜBUNG", {"1"}),
        ('"quoted"', {"1"}),
        ("strasse", {"2"}),
        ("12.5", {"2"}),
        ("ann", {"3"}),
        ("title", set()),
        ("lookupid", set()),
    ],
)
def test_find_looks_at_what_is_shown(board: Any, text: str, ids: set[str]) -> None:
    items = board.addresses["Deals north"] + "/items"
    for fields in ({"Title": 'Übung "quoted"'}, {"Title": "Straße", "Amount": 12.5}, {"Title": "x"}):
        assert board.client.post(items, json={"fields": fields}).status_code == 201
    board.order("edit", {"list": "Deals south", "fields": {}, "user": "Ann Person"})
    number = next(one["id"] for one in board.control.get("/people").json()["people"] if one["name"] == "Ann Person")
    board.client.patch(f"{items}/3/fields", json={"OwnerLookupId": str(number)})
    found = board.control.get("/table", params={"list": "Deals north", "find": text}).json()["rows"]
    assert {row["id"] for row in found} == ids


def test_a_move_between_two_lists_can_be_watched(board: Any, page: Page) -> None:
    north, south = (board.addresses[title] + "/items" for title in ("Deals north", "Deals south"))
    board.client.post(north, json={"fields": {"Title": "wanders"}})
    _open(page, board, "Deals north")
    page.get_by_label("Two lists").check()
    first, second = page.locator(".panel").nth(0), page.locator(".panel").nth(1)
    second.locator(".list").select_option(label="Deals south")
    expect(first.locator("tbody tr")).to_have_count(1)
    expect(second.locator(".empty")).to_be_visible()
    board.client.post(south, json={"fields": {"Title": "wanders"}})
    board.client.delete(north + "/1")
    expect(first.locator("tr.gone")).to_contain_text("wanders")
    # Half a screen for each list leaves the title readable.
    place = second.locator("td[data-field=Title]").bounding_box()
    assert place is not None
    assert place["width"] >= 150
    expect(second.locator("tbody tr")).to_contain_text("wanders")
    expect(first.locator("tr.gone")).to_have_count(0, timeout=20_000)


def test_it_is_used_by_keyboard(board: Any, page: Page) -> None:
    items = board.addresses["Deals north"] + "/items"
    for n in range(2):
        board.client.post(items, json={"fields": {"Title": f"deal {n}"}})
    _open(page, board, "Deals north")
    page.locator("tbody tr").nth(1).locator("td[data-field=Title]").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("tbody tr").nth(0).locator("td[data-field=Title]")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type(" by keys")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.type("!")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr").nth(0)).to_contain_text("deal 1!")
    expect(page.locator("td:focus")).to_have_text("deal 1!")
    page.keyboard.press("Delete")
    expect(page.locator("tbody tr:not(.gone)")).to_have_count(1)


def test_it_follows_the_colour_scheme_and_fits_a_narrow_screen(board: Any, page: Page) -> None:
    board.client.post(board.addresses["Deals north"] + "/items", json={"fields": {"Title": "x" * 80, "Stage": "won"}})
    page.set_viewport_size({"width": 420, "height": 800})
    _open(page, board, "Deals north")
    expect(page.locator("td[data-field=Stage] .pill")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    label = page.evaluate("getComputedStyle(document.querySelector('td[data-field=Stage]'), '::before').content")
    assert label == '"Sales stage"'
    background = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    assert light != page.evaluate(background) == "rgb(30, 33, 36)"
