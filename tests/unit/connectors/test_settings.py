"""The file and what it refers to: lines, suggestions, secrets."""

import os
import warnings
from pathlib import Path

import pytest

from connectors import settings
from rowtide.errors import DefinitionError, UserError
from rowtide.mapping import compiled_sync

WHOLE = """\
version: 1
state: {dsn: "env:STATE"}
postgres:
  erp:
    dsn: "env:ERP"   # REPLICATION + SELECT
graph:
  contoso:
    tenant_id: 72f9
    client_id: 1234
    quota: off
    credential: {client_secret: "env:SECRET"}
syncs:
  orders:
    source: {postgres: erp, table: public.orders}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    lists:
      by: paid
      map: {true: Paid, no: Never}
      default: Open
    fields:
      order_no: Title
      amount: {field: Amount, as: number}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A whole definition."""
    path = tmp_path / "rowtide.yaml"
    path.write_text(WHOLE)
    return path


def refused(path: Path, text: str) -> str:
    """What is said of a file with this text, without its path."""
    path.write_text(text)
    with pytest.raises(DefinitionError) as error:
        settings.load(path)
    return error.value.sentence.replace(str(path), "rowtide.yaml")


def test_a_whole_file(file: Path) -> None:
    loaded = settings.load(file)
    assert loaded.path == file
    assert loaded.definition.graph["contoso"].quota == "off"
    assert loaded.definition.syncs["orders"].sharding().map == {"true": "Paid", "no": "Never"}


def test_mistakes_have_their_lines_and_come_in_order(file: Path) -> None:
    text = (
        WHOLE.replace("table:", "tabel:")
        .replace("as: number", "as: numbr")
        .replace("graph: contoso,", "graph: contos,")
    )
    assert refused(file, text).splitlines() == [
        "rowtide.yaml:14: syncs.orders.source needs the key 'table'",
        "rowtide.yaml:14: unknown key 'tabel' in syncs.orders.source; did you mean 'table'?",
        "rowtide.yaml:15: syncs.orders.target.graph: there is no 'contos' in graph; did you mean 'contoso'?",
        "rowtide.yaml:22: syncs.orders.fields.amount.as: must be one of text, note, number, boolean, dateTime, choice; "
        "did you mean 'number'?",
    ]


def test_a_secret_in_the_file_is_refused_and_not_shown(file: Path) -> None:
    said = refused(file, WHOLE.replace('"env:SECRET"', "hunter2"))
    assert said.startswith("rowtide.yaml:11: graph.contoso.credential.client_secret: must be a reference")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("given", "mistyped"),
    [
        ('state: {dsn: "env:STATE"}', "state: {Hunter2: x}"),
        ('state: {dsn: "env:STATE"}', 'state: {"postgresql://u:Hunter2@h/db": x}'),
        ('state: {dsn: "env:STATE"}', "state: {dsn: {Hunter2: x}}"),
        ("  erp:", '  "postgresql://u:Hunter2@h/db":'),
        ("  erp:", "  Hunter2:"),
        ("      order_no: Title", '      "postgresql://u:Hunter2@h/db": {as: nothing}'),
        ("      order_no: Title", "      order_no: Title\n      Hunter2 x: Title\n      Hunter2 x: Title"),
        ("version: 1", "version: 1\nHunter2: x"),
        ('  erp:\n    dsn: "env:ERP"', '  Hunter2:\n    dsn: "env:ERP"\n    nothing: x'),
        ("  orders:\n    source: {postgres: erp,", "  Hunter2:\n    source: {postgres: nothing,"),
    ],
)
def test_a_secret_in_place_of_a_key_is_not_shown(file: Path, given: str, mistyped: str) -> None:
    assert given in WHOLE
    assert "Hunter2" not in refused(file, WHOLE.replace(given, mistyped))


@pytest.mark.parametrize(
    ("given", "mistyped"),
    [
        ('"env:SECRET"', "*Hunter2"),
        ('"env:SECRET"', "!Hun!ter2 x"),
        ('"env:SECRET"', "&twice Hunter2\n    licences: &twice Hunter2"),
        ('"env:SECRET"', '"env:postgresql://u:Hunter2@h/db"'),
        ('"env:ERP"', '"env:postgresql://u:Hunter2@h/db"'),
        ('"env:ERP"', '"env:host=h user=u password=Hunter2"'),
        ('"env:ERP"', '"file:postgresql://u:Hunter2@h/db"'),
        ('"env:ERP"', '"file:host=h password = Hunter2"'),
        ("postgres: erp", "postgres: Hunter2"),
    ],
)
def test_a_secret_that_yaml_or_a_reference_reads_otherwise_is_not_shown(file: Path, given: str, mistyped: str) -> None:
    assert given in WHOLE
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        said = refused(file, WHOLE.replace(given, mistyped))
    assert "ter2" not in said + "".join(str(one.message) for one in warned)
    assert said.startswith("rowtide.yaml:")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version: 1\nstate: {dsn: 'x\n\n", 2),
        ("a: 1\na: 2\n", 2),
        ("a: [1\nb: 2", 2),
        ("\ta: 1", 1),
        ("a: *b", 1),
        ("- 1", 1),
        ("", 1),
    ],
)
def test_what_is_not_yaml_or_no_definition(file: Path, text: str, line: int) -> None:
    assert refused(file, text).startswith(f"rowtide.yaml:{line}")


def test_a_key_that_is_there_twice_is_named_with_its_line_and_no_value(file: Path) -> None:
    said = refused(file, WHOLE + 'state: {dsn: "hunter2"}\n')
    assert said == "rowtide.yaml:23: the key 'state' is there a second time in its section, which begins in line 1"
    said = refused(file, WHOLE.replace("      order_no: Title", '      order_no: "hunter2"\n      order_no: Title'))
    assert said == "rowtide.yaml:22: the key 'order_no' is there a second time in its section, which begins in line 21"


def test_a_broken_line_with_a_secret_is_not_shown(file: Path) -> None:
    assert "hunter2" not in refused(file, 'state: {dsn: "hunter2\nversion: 1\n')


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*nowhere\.yaml"):
        settings.load(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        settings.load(tmp_path)


def test_what_the_table_does_not_carry_has_a_line_too(file: Path) -> None:
    loaded = settings.load(file)
    with pytest.raises(DefinitionError) as error:
        compiled_sync.compile_sync("orders", loaded.definition.syncs["orders"], [])
    located = loaded.located(error.value)
    assert f"{file}:14: syncs.orders: there is no table public.orders" in located.sentence
    assert f"{file}:22: syncs.orders: the table has no column 'amount'" in located.sentence


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWTIDE_TEST_SECRET", "s3cret")
    kept = tmp_path / "secret"
    kept.touch(0o600)
    kept.write_text(" with blanks \n")
    assert settings.resolve_secret("env:ROWTIDE_TEST_SECRET") == "s3cret"
    assert settings.resolve_secret(f"file:{kept}") == " with blanks "


@pytest.mark.parametrize(
    ("mode", "owner", "taken"),
    [
        (0o600, 0, True), (0o400, 0, True), (0o440, 0, True), (0o444, 0, False), (0o602, 0, False), (0o660, 0, False),
        (0o600, 65534, True), (0o640, 65534, False), (0o604, 65534, False), (0o620, 65534, False),
    ],
)  # fmt: skip
def test_a_secret_file_that_others_may_read_is_not_read(tmp_path: Path, mode: int, owner: int, taken: bool) -> None:
    kept = tmp_path / "secret"
    kept.write_text("hunter2\n")
    kept.chmod(mode)
    if owner != kept.stat().st_uid:
        if os.geteuid() != 0:
            pytest.skip("only root may give a file away")
        os.chown(kept, owner, -1)
    if taken:
        assert settings.resolve_secret(f"file:{kept}") == "hunter2"
        return
    with pytest.raises(UserError) as error:
        settings.resolve_secret(f"file:{kept}")
    assert error.value.code == "secret_open"
    assert "chmod 600" in error.value.remedy
    assert "hunter2" not in error.value.sentence


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("env:ROWTIDE_TEST_NOT_SET", "secret_missing"),
        ("file:/nowhere/secret", "secret_missing"),
        ("vault:kv/a#b", "not_available"),
        ("hunter2", "secret_literal"),
    ],
)
def test_secrets_that_are_not_there(reference: str, code: str) -> None:
    with pytest.raises(UserError) as error:
        settings.resolve_secret(reference)
    assert error.value.code == code
    assert "hunter2" not in error.value.sentence


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "aliases stand for more than 1,000,000 values"),
        ("a: " + "[" * 1000, "in each other without end"),
        ("a: " + "{a: " * 100, "in each other without end"),
        ("".join(" " * depth + "a:\n" for depth in range(100)), "in each other without end"),
        ("? " * 30 + "a", "found a key that is no plain text"),
        ("a: &a {b: 1}\n*a : 1", "found a key that is no plain text"),
        ("a: 1\n" + " " * settings.MOST_CHARACTERS, "more than 16,777,216 characters"),
    ],
    ids=["aliases", "depth", "maps", "blocks", "keys", "alias as key", "size"],
)
def test_a_file_that_is_a_bomb_is_refused(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as error:
        settings.load(file)
    assert said in error.value.sentence


def test_a_secret_without_end_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * (settings.MOST_SECRET + 1))
    secret.chmod(0o600)
    with pytest.raises(UserError, match="no secret is so large"):
        settings.resolve_secret(f"file:{secret}")
