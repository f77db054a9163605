"""The demo ends with source and lists equal under every switch of the simulator at its other values.

What only a live tenant can settle must not matter to the product: each group below is one run of `rowtide demo`, in
which answers get lost too.
"""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from graphsim.switches import Switches

# Some answers get lost after their work is done, so that the product has to look for what became of its writes.
LOST_ANSWERS = {"path": "/\\$batch$", "action": "reset", "after_commit": True, "probability": 0.03}
# Windows so short that the demo comes to the end of the tenant's, where other apps have left nothing of it.
OPTIONS: dict[str, tuple[str, ...]] = {"writing": ("--window-s=2",)}
GROUPS: dict[str, dict[str, str]] = {
    "writing": {
        "unique-error": "409",
        "unique-wording": "named",
        "unknown-field": "ignore",
        "etag-form": "upper",
        "app-identity": "absent",
        "patch-etag": "off",
        "batch-order": "given",
        "lookup-int": "accept",
        "lookup-missing": "reject",
        "hyperlink-write": "accept",
        "error-spelling": "innererror",
        "page-size": "50",
        "page-cap": "100",
        "version-limit": "1",
        "threshold": "100",
        "index-limit": "5",
        "lookup-limit": "4",
        "choice-check": "off",
        "rich-text": "keep",
        # Beside the default of tenant-window: the share counts in that window only.
        "foreign-load": "1",
    },
    "quota": {
        "etag-form": "braces",
        "etag-code": "preconditionFailed",
        "batch-status": "424",
        "retry-after-missing": "0.5",
        "charge-throttled": "off",
        "tenant-window": "off",
        "day-window": "off",
        "block-after": "100000",
        "token-life-s": "20",
        "secret-delay-s": "0",
        "latency-jitter": "0.5",
        "schema-ms": "200",
        "trim-text": "on",
        "empty-text": "kept",
        "line-breaks": "keep",
    },
    "reading": {
        "etag-form": "weak",
        "etag-code": "notAllowed",
        "etag-status": "409",
        "unknown-select": "ignore",
        "filter-lag-s": "3",
        "list-filter": "any",
        "orderby-paging": "page",
        "quota-multiplier": "4",
        "secret-flap": "on",
        "post-date-echo": "wrong",
        "site-time-zone": "Europe/Berlin",
        "delta-order": "change",
        "delta-lag-s": "2",
        "delta-token-life-s": "60",
        "delta-bad-token": "410",
        "delta-resync": "upload",
        "delta-resync-spelling": "short",
        "delta-repeat": "0.3",
        "delta-empty": "0.3",
        "deleted-id": "int",
        "notify-delay-ms": "0",
        "notify-loss": "0.5",
        "notify-duplicate": "0.5",
    },
}


def test_every_switch_has_its_other_values_in_some_group() -> None:
    missing = []
    for field in fields(Switches):
        name, default = field.name.replace("_", "-"), str(field.default)
        if isinstance(field.default, bool):
            default = "on" if field.default else "off"
        given = {group[name] for group in GROUPS.values() if name in group}
        choices = set(field.metadata.get("choices") or ()) - {""}
        if not given or default in given or choices - {default} - given:
            missing.append(name)
    assert missing == []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", GROUPS)
def test_the_demo_ends_equal(group: str, reachable_path: Path) -> None:
    faults = reachable_path / "faults.json"
    faults.write_text(json.dumps(LOST_ANSWERS))
    arguments = [f"--switch={name}={value}" for name, value in GROUPS[group].items()]
    arguments += [f"--faults={faults}", *OPTIONS.get(group, ())]
    command = [sys.executable, "-m", "control.cli", "demo", "--dir", str(reachable_path), "--seconds", "8", "--json"]
    environment = {
        **os.environ,
        "ROWTIDE_DEMO_SIMULATOR": "tests.recording",
        "ROWTIDE_TEST_SIMULATOR_ARGUMENTS": " ".join(arguments),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
