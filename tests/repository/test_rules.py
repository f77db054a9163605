"""The rules of `tests.repository.rules` hold, and each of them finds a planted violation."""

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.repository import rules
from tests.repository.rules import Sources

Rule = Callable[[Sources], Iterator[str]]

TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {}\n"
UNPROVEN = "from connectors.postgres.connections import open_unproven\n"
PLANTED: list[tuple[Rule, dict[str, str]]] = [
    (rules.core_imports_only_pure_modules, {"rowtide.planted": "import os\n"}),
    (rules.core_imports_only_pure_modules, {"rowtide.planted": "import nobody_knows_it\n"}),
    (rules.core_imports_only_pure_modules, {"rowtide.mapping.planted": "from pathlib import Path\n"}),
    (rules.core_imports_only_pure_modules, {"rowtide.planted": "def lazy() -> None:\n    import time\n"}),
    (rules.core_imports_only_pure_modules, {"rowtide.planted": TYPES_ONLY.format("psycopg")}),
    (rules.core_imports_only_pure_modules, {"rowtide.planted": "import state.outbox\n"}),
    (rules.core_has_no_clock_and_no_io, {"rowtide.planted": "text = open('/etc/passwd').read()\n"}),
    (rules.core_has_no_clock_and_no_io, {"rowtide.planted": "read = open\n"}),
    (rules.core_has_no_clock_and_no_io, {"rowtide.planted": "from datetime import datetime\nx = datetime.now()\n"}),
    (rules.core_has_no_clock_and_no_io, {"rowtide.planted": "import datetime\nx = datetime.date.today()\n"}),
    (rules.core_has_no_clock_and_no_io, {"rowtide.planted": "from uuid import uuid4\n"}),
    (rules.core_has_no_clock_and_no_io, {"rowtide.planted": "import uuid\nx = uuid.uuid4\n"}),
    (rules.core_has_no_clock_and_no_io, {"rowtide.planted": "from datetime import datetime as dt\nx = dt.now()\n"}),
    (rules.steps_know_ports_only, {"flows.steps.planted": "import psycopg\n"}),
    (rules.steps_know_ports_only, {"flows.steps.planted": "from state import outbox\n"}),
    (rules.steps_know_ports_only, {"flows.steps.planted": TYPES_ONLY.format("flows.process")}),
    (rules.steps_know_ports_only, {"flows.ports": "def lazy() -> None:\n    import connectors.recorder\n"}),
    (rules.operations_return_documents, {"control.operations.planted": "print('done')\n"}),
    (rules.operations_return_documents, {"control.operations.planted": "import sys\nsys.exit(1)\n"}),
    (rules.operations_return_documents, {"control.operations.planted": "sure = input('sure? ')\n"}),
    (rules.product_needs_no_tests, {"flows.planted": "import perf.stand\n"}),
    (rules.product_needs_no_tests, {"demo.planted": "from tests.e2e import stack\n"}),
    (rules.no_import_circle, {"flows.one": "import flows.two\n", "flows.two": "from flows import one\n"}),
    (rules.no_import_circle, {"flows.one": "import flows.two\n", "flows.two": TYPES_ONLY.format("flows.one")}),
    (
        rules.no_import_circle,
        {
            "state.a": "import state.b",
            "state.b": "def lazy() -> None:\n    from state import c",
            "state.c": "import state.a",
        },
    ),
    (
        rules.no_class_knows_everything,
        {"flows.planted": "class All:\n" + "".join(f"    def m{n}(self) -> None: ...\n" for n in range(21))},
    ),
    (rules.sessions_on_a_source_are_proven, {"flows.planted": UNPROVEN + "x = open_unproven('')\n"}),
    (rules.sessions_on_a_source_are_proven, {"flows.planted": UNPROVEN.replace("\n", " as o\n")}),
    (rules.sessions_on_a_source_are_proven, {"control.planted": "def f(c: object) -> None:\n c.open_unproven('')\n"}),
    (rules.sessions_on_a_source_are_proven, {"connectors.planted": "import psycopg\nx = psycopg.connect('')\n"}),
    (rules.sessions_on_a_source_are_proven, {"connectors.planted": "from psycopg import connect\n"}),
    (rules.sessions_on_a_source_are_proven, {"flows.planted": "import psycopg\nx = psycopg.Connection.connect('')\n"}),
    (rules.names_enter_sql_by_psycopg, {"connectors.planted": "def f(t: str) -> str:\n return f'SELECT * FROM {t}'\n"}),
    (rules.names_enter_sql_by_psycopg, {"control.planted": "def f(t: str) -> str:\n return 'DROP {}'.format(t)\n"}),
    (rules.names_enter_sql_by_psycopg, {"flows.planted": "def f(t: str) -> str:\n return 'DROP TABLE ' + t\n"}),
    (rules.names_enter_sql_by_psycopg, {"connectors.planted": "def f(t: str) -> str:\n return 'SELECT %s' % t\n"}),
    (rules.names_enter_sql_by_psycopg, {"state.planted": """def f(t: str) -> str:\n return t.replace('"', '""')\n"""}),
    (rules.clocks_are_read_where_it_is_said, {"flows.planted": "import time\nx = time.time()\n"}),
    (rules.clocks_are_read_where_it_is_said, {"state.planted": "from time import time\n"}),
    (rules.clocks_are_read_where_it_is_said, {"control.planted": "import datetime\nx = datetime.datetime.now()\n"}),
    (rules.threads_are_supervised, {"flows.planted": "import threading\nthreading.Thread(target=print).start()\n"}),
    (rules.threads_are_supervised, {"state.planted": "import threading as t\nfrom threading import Thread as T\n"}),
    (rules.threads_are_supervised, {"control.planted": "from concurrent.futures import ThreadPoolExecutor\n"}),
    (rules.threads_are_supervised, {"connectors.planted": "import asyncio\nx = asyncio.to_thread(print)\n"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def sources() -> Sources:
    return rules.read_sources()


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds(rule: Rule, sources: Sources) -> None:
    assert list(rule(sources)) == []


@pytest.mark.parametrize(("rule", "planted"), PLANTED, ids=[f"{n} {row[0].__name__}" for n, row in enumerate(PLANTED)])
def test_a_planted_violation_is_found(rule: Rule, planted: dict[str, str], sources: Sources) -> None:
    found = list(rule({**sources, **{name: ast.parse(text) for name, text in planted.items()}}))
    assert found
    assert all(name in " ".join(found) for name in planted)


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _ in PLANTED} == set(rules.RULES)
