"""Every alert on a real process: its condition is caused, the alert is told to a receiver, its playbook is played, and
it is taken back once the condition is mended.

In: a real Prometheus and a real Alertmanager (`tests/e2e/watching.py`). Rule: a playbook's commands are typed while its
alert fires; what mends is the playbook's command where it has one.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from demo.postgres import Cluster
from state import failpoints
from tests.conftest import reachable_directory
from tests.e2e.conftest import Simulator, shared_stack
from tests.e2e.prometheus import needs_prometheus
from tests.e2e.stack import SYNC, Stack, wait_until
from tests.e2e.two_ways import Ways
from tests.e2e.watching import Playbook, Watch, commands_of, is_act, needs_alertmanager, rules, watching

ROWS = 40
DEADLINE_S = 150.0

pytestmark = [pytest.mark.long, needs_prometheus, needs_alertmanager]
SECRET = 'client_secret: "env:ROWTIDE_CLIENT_SECRET"'
NOBODY = {"RowtideNobodyLooks"}


class Conditions:
    """What is caused, and what was told of it."""

    def __init__(self, stack: Stack, watch: Watch, playbook: Playbook) -> None:
        self.stack, self.watch, self._playbook = stack, watch, playbook

    def fires(self, *alerts: str, but: str = "") -> None:
        """Wait until these are told, and have a look by their playbooks."""
        wait_until(lambda: set(alerts) <= self.watch.firing(), f"{alerts} are told", DEADLINE_S)
        for page in {rules()[alert]["annotations"]["playbook"]: alert for alert in alerts}.values():
            self._playbook.look(page, but)

    def mend(self, alert: str, command: str) -> None:
        """By a command of the alert's playbook."""
        self._playbook.act(alert, command)

    def cleared(self, but: set[str] | None = None) -> None:
        """Wait until all is taken back."""
        wait_until(lambda: self.watch.firing() == (but or set()), "all is taken back", DEADLINE_S)

    def told_as_routed(self) -> None:
        """Each alert went to the receiver of its severity, and to no other."""
        by_severity = {"page": "call", "ticket": "day"}
        told = self.watch.receivers()
        assert told == {(name, by_severity[rules()[name]["labels"]["severity"]]) for name, _ in told}


def edit_file(stack: Stack, before: str, after: str) -> None:
    """Change the definition's file, which its processes read again."""
    text = stack.config.read_text()
    assert before in text
    stack.config.write_text(text.replace(before, after))


def test_what_rows_and_graph_do_alerts_and_clears(
    tmp_path: Path, new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack]
) -> None:
    simulator = new_simulator("--tier", "off")
    cautious = SYNC.replace("breaker: {share: 1.0, rows: 100000}", "breaker: {share: 0.2, rows: 500}")
    stack = new_stack(simulator, rows=ROWS, syncs=cautious)
    with watching(stack, tmp_path) as watch:
        now = Conditions(stack, watch, Playbook(stack, "parts", "30"))
        now.fires("RowtideNobodyLooks")
        process = stack.start()
        wait_until(lambda: len(stack.simulator.items()) == ROWS, "every row has an item")
        now.cleared()

        stack.sql("INSERT INTO parts (id, name) VALUES (1001, repeat('x', 300))")
        now.fires("RowtideRowsParked")
        stack.sql("UPDATE parts SET name = 'short' WHERE id = 1001")
        now.mend("RowtideRowsParked", "parked retry SYNC --all")
        now.cleared()

        answer = {"path": r"\$batch$", "level": "request", "probability": 1.0, "action": "status", "status": 503}
        simulator.set_faults([answer])
        stack.sql("INSERT INTO parts (id, name) VALUES (1002, 'late')")
        now.fires("RowtidePushLate", "RowtideNoProgress")
        stack.command("pause", "parts", "--reason", "Graph is down")
        now.cleared()  # what a person holds alerts nobody
        stack.command("resume", "parts")
        now.fires("RowtidePushLate")
        simulator.clear_faults()
        now.cleared()

        simulator.set_faults([{"level": "member", "status": 429, "retry_after": 8}])
        stack.sql("INSERT INTO parts (id, name) VALUES (1003, 'throttled')")
        now.fires("RowtideThrottled", "RowtideQuotaSpent")
        simulator.clear_faults()
        now.cleared()

        stack.sql("DELETE FROM parts WHERE id <= 20")
        now.fires("RowtideMassDeletion")
        now.mend("RowtideMassDeletion", "resume SYNC --approve-deletes")
        now.cleared()

        stack.sql("ALTER TABLE parts ALTER quantity TYPE text")
        stack.sql("INSERT INTO parts (id, name) VALUES (1004, 'held')")
        now.fires("RowtideNotCaptured")
        stack.sql("ALTER TABLE parts ALTER quantity TYPE int USING quantity::int")
        now.cleared()

        edit_file(stack, SECRET, f"{SECRET}, expires: 2020-01-31")
        now.fires("RowtideCredentialExpires")
        edit_file(stack, "2020-01-31", "2120-01-31")
        now.cleared()

        assert stack.stop(process) == 0, stack.logged()[-4000:]
        now.cleared(but=NOBODY)
        now.told_as_routed()


TASKS = """
CREATE TABLE tasks (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL, note text);
INSERT INTO tasks SELECT i, 'task ' || i, 'note ' || i FROM generate_series(1, 12) i
"""
BOTH = """
  tasks:
    source: {postgres: erp, table: public.tasks}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Tasks
    direction: both
    poll: 1s..1s
    breaker: {share: 1.0, rows: 100000}
    conflicts: {columns: {note: manual}}
    fields: {name: Title, note: {field: Note, as: note}}
"""
UNREACHED = "http://127.0.0.1:9/graph"


@pytest.fixture
def both(pg: Cluster) -> Iterator[Stack]:
    """A sync of two ways that Graph cannot tell of anything, at rest."""
    directory = reachable_directory("rowtide-secret-")
    key = directory / "webhook.key"
    key.touch(0o600)
    key.write_text("a key of this test alone")
    hooks = f'quota: off\n    webhooks: {{url: "{UNREACHED}", key: "file:{key}"}}'
    with shared_stack(pg, pg, "alerts", [TASKS], BOTH, lambda text: text.replace("quota: off", hooks)) as made:
        yield made
    shutil.rmtree(directory, ignore_errors=True)


def test_what_people_do_in_lists_alerts_and_clears(tmp_path: Path, both: Stack) -> None:
    tasks, simulator = Ways(both, "tasks", "Tasks"), both.simulator
    with watching(both, tmp_path) as watch:
        now = Conditions(both, watch, Playbook(both, "tasks", "5"))
        both.start()
        wait_until(lambda: len(simulator.items()) == 12, "every row has an item")
        now.fires("RowtideWebhooksLapse")
        [port] = re.findall(r'listen: "127\.0\.0\.1:(\d+)"', both.config.read_text())
        edit_file(both, UNREACHED, f"http://127.0.0.1:{port}/graph")
        both.command("apply", "--yes", "--upgrade")
        now.cleared()

        with psycopg.connect(both.source_dsn) as connection:
            connection.execute("SELECT FROM tasks WHERE id = 1 FOR UPDATE")
            tasks.edit(1, Title="by a person")
            now.fires("RowtidePullLate")
        tasks.arrives(1, "name", "by a person")
        now.cleared()

        simulator.set_faults([{"path": "delta", "probability": 1.0, "action": "status", "status": 503}])
        now.fires("RowtidePullUnknown")
        simulator.clear_faults()
        now.cleared()

        both.command("pause", "tasks", "--reason", "both at once")
        both.sql("UPDATE tasks SET note = 'the table says' WHERE id = 2")
        tasks.edit(2, Note="the list says")
        both.command("resume", "tasks")
        now.fires("RowtideConflictsOpen")
        [(conflict,)] = both.state("SELECT id FROM rowtide.conflict WHERE state = 'open'")
        both.command("conflicts", "resolve", str(conflict), "--take", "sharepoint", "--why", "hers", "--yes")
        now.cleared()
        now.told_as_routed()


def test_what_source_and_process_do_alerts_and_clears(
    tmp_path: Path,
    new_simulator: Callable[..., Simulator],
    new_stack: Callable[..., Stack],
    new_cluster: Callable[..., Cluster],
) -> None:
    source, held = new_cluster(wal_level="logical", max_slot_wal_keep_size="512MB"), tmp_path / "held"
    stack = new_stack(new_simulator("--tier", "off"), rows=5, source_dsn=source.create_database("source"))
    with watching(stack, tmp_path) as watch:
        now = Conditions(stack, watch, Playbook(stack, "parts", "1"))
        held.touch()
        traps = f"{failpoints.STAGE_BEFORE_COMMIT}=pause:{held};{failpoints.LOOP_SHAPE}=fault"
        stack.wait_ready(stack.start(failpoints=traps))
        stack.sql("INSERT INTO parts (id, name) VALUES (1001, 'not staged')")
        now.fires("RowtideEngineStands", "RowtideLoopFails")
        held.unlink()

        def crashes() -> bool:
            """Once more; each life is long enough to be asked by Prometheus."""
            stack.processes[-1].kill()
            stack.processes[-1].wait(20)
            stack.wait_ready(stack.start())
            with suppress(AssertionError):
                wait_until(lambda: "RowtideCrashLoop" in watch.firing(), "it is told", 8)
            return "RowtideCrashLoop" in watch.firing()

        wait_until(crashes, "it is told that the process starts again and again", DEADLINE_S)
        now.fires("RowtideCrashLoop")
        wait_until(lambda: len(stack.simulator.items()) == 6, "every row has an item")
        now.cleared()

        def fills() -> bool:
            stack.sql("DO $$ BEGIN PERFORM pg_logical_emit_message(false, 'noise', repeat('x', 200000)); END $$")
            return "RowtideWalRunsOut" in watch.firing()

        wait_until(fills, "the slot's room shrinks", DEADLINE_S)
        now.fires("RowtideWalRunsOut")
        now.cleared()

        source.stop()
        now.fires("RowtideSourceAway", "RowtidePushUnknown", but="slot list")
        source.start()
        now.cleared()

        stack.sql(
            "SELECT pg_terminate_backend(active_pid, 30000), pg_drop_replication_slot(slot_name)"
            " FROM pg_replication_slots WHERE slot_name = %s",
            stack.slot,
        )
        now.fires("RowtideGapHealed")
        now.cleared()
        now.told_as_routed()


def test_every_alert_and_every_command_that_mends_is_played() -> None:
    text = Path(__file__).read_text()
    assert {alert for alert in rules() if f'"{alert}"' not in text} == set()
    pages = {rule["annotations"]["playbook"] for rule in rules().values()}
    acts = {command for page in pages for command in commands_of(page) if is_act(command)}
    assert {command for command in acts if f'"{command}"' not in text} == set()
