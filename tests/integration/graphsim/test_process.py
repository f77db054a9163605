"""The process: command line, ready line, end, control side, data file, page."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphsim.cli import main


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tier", "7"], "argument --tier: invalid choice: '7'"),
        (["--client", "app"], "--client is written NAME=VALUE, not 'app'"),
        (["--client", "app=secret"], "--client app: the secret is given as env:NAME or file:PATH"),
        (["--client", "app=env:NO_SUCH_NAME"], "the environment variable 'NO_SUCH_NAME' is not set"),
        (["--client", "app=file:/no/such"], "'/no/such' cannot be read: No such file or directory"),
        (["--site", "what is this"], "a site is written HOST:/PATH, not 'what is this'"),
        (["--switch", "nope=1"], "there is no switch 'nope'"),
        (["--switch", "unique-error=500"], "switch 'unique-error' takes one of 400, 409, not '500'"),
        (["--switch", "site-time-zone=Mars/Base"], "there is no time zone 'Mars/Base'"),
        (["--switch", "patch-etag=maybe"], "takes on or off, not 'maybe'"),
        (["--window-s", "0"], "--window-s must be positive"),
        (["--port", "99999"], "--port must be between 0 and 65535"),
        (["--faults", "/no/such"], "cannot be read"),
        (["--ca-out", "/no/such/ca.pem"], "cannot be written"),
        (["--data", "/no/such/file"], "cannot be used as a data file"),
    ],
)
def test_a_bad_command_line_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert err.count("\n") == 1
    assert out == ""


def test_a_fault_file_with_nonsense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "faults.json").write_text('[{"nope": 1}]')
    assert main(["--faults", str(tmp_path / "faults.json")]) == 2
    assert "a fault rule has no key 'nope'" in capsys.readouterr().err


def test_signals_end_it_with_zero_and_no_word(simulators: Callable[..., Any]) -> None:
    simulator = simulators().sign_in()
    assert simulator.client.get("/sites/root").status_code == 200
    simulator.process.send_signal(signal.SIGINT)
    assert simulator.stop() == 0  # which sends a SIGTERM more, while it ends
    assert simulator.last_words == ""


def test_a_used_port_is_one_sentence(running: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port = running.ready["base_url"].rpartition(":")[2].partition("/")[0]
    assert main(["--port", port]) == 2
    assert f"port {port} of 127.0.0.1 cannot be used" in capsys.readouterr().err


def test_it_dies_with_its_parent(eventually: Callable[..., Any]) -> None:
    code = (
        "import subprocess, sys, os\n"
        "p = subprocess.Popen([sys.executable, '-m', 'graphsim', '--die-with-parent'], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid = int(parent.stdout)

    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2:3]

    assert eventually(is_gone)


def test_without_a_client_one_is_made_and_told() -> None:
    process = subprocess.Popen([sys.executable, "-m", "graphsim"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    assert process.communicate(timeout=20) == (b"", b"")
    assert b'"client_secret":"sim-' in line
    assert b'"ui_url":"http://127.0.0.1:' in line


def test_answers_carry_request_ids_and_links_of_the_host_asked(running: Any) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("Links")
    answer = simulator.client.get(orders + "/items/delta?token=latest", headers={"client-request-id": "abc"})
    assert answer.headers["client-request-id"] == "abc"
    assert answer.headers["request-id"]
    assert answer.json()["@odata.deltaLink"].startswith(simulator.ready["base_url"] + "/sites/")
    lost = simulator.client.get(orders + "/items/9", headers={"client-request-id": "abc"}).json()["error"]["innerError"]
    assert lost["client-request-id"] == "abc"
    assert (
        simulator.client.post(orders + "/items", content=b"{", headers={"Content-Type": "application/json"}).status_code
        == 400
    )
    assert (
        simulator.client.post(orders + "/items", content=b"{}", headers={"Content-Type": "text/plain"}).status_code
        == 415
    )
    assert simulator.client.get("/../nothing").status_code == 404


def test_an_item_that_waits_for_its_approval_is_hidden_and_nobody_is_told(running: Any) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("Moderated")
    for key in ("a", "b"):
        simulator.client.post(orders + "/items", json={"fields": {"Title": key, "RowtideKey": key}})
    link = simulator.client.get(orders + "/items/delta?token=latest").json()["@odata.deltaLink"]
    one = {"list": "Moderated", "item_id": "1"}
    assert simulator.order("approval", {**one, "action": "withhold"})["deleted"] is False
    assert simulator.client.get(orders + "/items/1").status_code == 404
    shown = [simulator.client.get(orders + path).json()["value"] for path in ("/items", "/items/delta")]
    assert [[item["id"] for item in value] for value in shown] == [["2"], ["2"]]
    assert simulator.client.get(link).json()["value"] == []
    again = simulator.client.post(orders + "/items", json={"fields": {"Title": "c", "RowtideKey": "a"}})
    assert again.status_code == 400
    assert simulator.order("approval", {**one, "action": "approve", "user": "Ann Person"})["version"] == 2
    assert [item["id"] for item in simulator.client.get(link).json()["value"]] == ["1"]
    assert simulator.client.get(orders + "/items/1").status_code == 200
    assert simulator.control.post("/approval", json={**one, "action": "approve"}).status_code == 404
    assert simulator.control.post("/approval", json={**one, "action": "forget"}).status_code == 400


def test_a_persons_edit_shows_the_person(running: Any) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("People")
    simulator.client.post(orders + "/items", json={"fields": {"Title": "a", "RowtideKey": "k"}})
    edited = simulator.order("edit", {"list": "People", "item_id": "1", "fields": {"Amount": 7}, "user": "Ann Person"})
    assert (edited["version"], edited["lastModifiedBy"], edited["fields"]["Amount"]) == (2, "Ann Person", 7)
    item = simulator.client.get(orders + "/items/1").json()
    assert item["lastModifiedBy"]["user"]["displayName"] == "Ann Person"
    assert "application" in item["createdBy"]
    touched = simulator.order("edit", {"list": "People", "item_id": "1", "touch": True})
    assert (touched["version"], touched["fields"]["Amount"]) == (3, 7)
    simulator.order("edit", {"list": "People", "item_id": "1", "delete": True})
    assert simulator.client.get(orders + "/items/1").status_code == 404
    restored = simulator.order("recycle", {"list": "People", "item_id": "1", "action": "restore"})
    assert restored["fields"]["Title"] == "a"
    assert simulator.client.get(orders + "/items/1").status_code == 200
    made = simulator.order("edit", {"list": "People", "fields": {"Title": "b"}, "user": "Bo"})
    assert made["id"] == "2"
    for bad in ({"list": "None"}, {"item_id": "1"}, {"list": "People", "item_id": "99"}):
        assert simulator.control.post("/edit", json=bad).status_code in {400, 404}
    assert simulator.control.post("/edit", json={"list": "People", "fields": {"Nope": 1}}).json()["error"]
    assert simulator.control.get("/nothing").status_code == 404


def test_stats_explain_every_post(simulators: Callable[..., Any]) -> None:
    simulator = simulators("--tier", "1000").sign_in()
    orders = simulator.make_list()
    body = {"fields": {"RowtideKey": "k"}}
    assert [simulator.client.post(orders + "/items", json=body).status_code for _ in range(2)] == [201, 400]
    members = [{"id": "1", "method": "DELETE", "url": orders + "/items/1"}]
    simulator.client.post("/$batch", json={"requests": members})
    stats = simulator.stats()
    assert stats["posts_by_key"] == {"k": {"attempts": 2, "created": 1}}
    assert (stats["creates"]["total"], stats["deletes"]["total"], stats["batches"]) == (1, 1, 1)
    assert stats["requests"]["DELETE"] == {"204": 1}
    assert "DELETE" not in stats["http_requests"]
    assert stats["ru"]["limit_per_window"] == 1250
    assert stats["ru"]["used"] == stats["ru"]["clients"]["app-1"]["accepted"] > 6
    assert sum(w["used"] for w in stats["ru"]["clients"]["app-1"]["windows"]) == stats["ru"]["used"]
    assert "posts_by_key" not in simulator.control.get("/stats?keys=0").json()


def test_what_was_answered_survives_sigkill(simulators: Callable[..., Any], tmp_path: Path) -> None:
    data = ("--tier", "off", "--data", str(tmp_path / "state.db"), "--switch", "secret-delay-s=0")
    first = simulators(*data).sign_in()
    orders = first.make_list()
    link = first.client.get(orders + "/items/delta?token=latest").json()["@odata.deltaLink"]
    for n in range(5):
        first.client.post(orders + "/items", json={"fields": {"RowtideKey": f"k{n}", "Title": f"t{n}"}})
    first.client.patch(orders + "/items/1/fields", json={"Title": "changed"})
    first.client.delete(orders + "/items/2")
    first.order("edit", {"list": "Orders", "item_id": "3", "fields": {"Amount": 3}, "user": "Ann Person"})
    made = first.client.post("/applications(appId='app-1')/addPassword", json={}).json()
    before = first.control.get("/items?list=Orders&deleted=1").json()
    columns = first.client.get(orders + "/columns").json()["value"]
    first.process.kill()
    second = simulators(*data)
    second.client.headers["Authorization"] = first.client.headers["Authorization"]
    assert second.control.get("/items?list=Orders&deleted=1").json() == before
    assert second.client.get(orders + "/columns").json()["value"] == columns
    page = second.client.get("/" + link.partition("/v1.0/")[2] + "&$expand=fields").json()
    assert {e["id"]: e.get("fields", {}).get("Title") for e in page["value"]} == {
        "1": "changed",
        "2": None,
        "3": "t2",
        "4": "t3",
        "5": "t4",
    }
    versions = second.client.get(orders + "/items/1/versions?$expand=fields").json()["value"]
    assert [v["fields"]["Title"] for v in versions] == ["changed", "t0"]
    assert second.token(made["secretText"]).status_code == 200
    again = second.client.post(orders + "/items", json={"fields": {"RowtideKey": " K4"}})
    assert again.status_code == 400
    assert second.client.post(orders + "/items", json={"fields": {"RowtideKey": "k9"}}).json()["id"] == "6"
    assert second.client.delete(orders).status_code == 204
    second.process.kill()
    third = simulators(*data).sign_in()
    assert third.control.get("/lists").json() == {"lists": []}


def test_the_page_needs_nothing_from_outside(running: Any) -> None:
    simulator = running.sign_in()
    simulator.make_list("Page")
    page = simulator.control.get(simulator.ready["ui_url"])
    assert page.status_code == 200
    assert "SharePoint lists" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "innerHTML" not in page.text
    simulator.order("edit", {"list": "Page", "fields": {"Title": "<b>x</b>"}, "user": "Ann"})
    table = simulator.control.get("/table?list=Page&find=X").json()
    assert [row["fields"]["Title"] for row in table["rows"]] == ["<b>x</b>"]
    assert simulator.control.get("/table?list=Page&find=nowhere").json()["rows"] == []
