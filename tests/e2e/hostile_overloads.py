"""Functions and operators in ``public`` that PostgreSQL would rather call than its own, wherever the path lets it.

In: a DSN. Out: the traps, set in that database; each one that is called says so in the server's log. Rule: what is
trapped is found in the product's sources, so a statement that is new tomorrow is held too. A trap differs from
PostgreSQL's function in the types of its arguments only: the nearer match wins, whatever schema it is in.
"""

import ast
import itertools
import re
from collections.abc import Iterator

import psycopg

from tests.repository import rules

MARK = "a hostile overload was called"

PACKAGES = ("state", "connectors", "flows", "control", "migrations")

# What a caller may hold where PostgreSQL's function takes the type on the left: the nearer match wins.
_ANY = (
    "text",
    "name",
    "int2",
    "int4",
    "int8",
    "oid",
    "xid",
    "bool",
    "json",
    "jsonb",
    "timestamptz",
    "pg_lsn",
    '"char"',
    "pg_catalog.pg_replication_slots",
    "pg_catalog.pg_publication",
)
_ARRAYS = ("text[]", "name[]", "int2[]", "int4[]", "int8[]", "oid[]", "int2vector")
_NEARER = {
    **dict.fromkeys(("anyelement", "anycompatible", "anynonarray", '"any"'), _ANY),
    **dict.fromkeys(("anyarray", "anycompatiblearray"), _ARRAYS),
    "text": ("text", "name", "varchar", '"char"'),
    "name": ("name", "text"),
    "bigint": ("int8", "int4", "int2"),
    "integer": ("int4", "int2", "int8"),
    "oid": ("oid", "regclass", "int4", "int8"),
    "numeric": ("numeric", "int4", "int8"),
    "double precision": ("float8", "int4", "int8", "numeric"),
    "bytea": ("bytea", "text"),
}
_OPERANDS = (*_ANY[:-2], "varchar", "regclass", "interval", "text[]", "int2vector")
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
_OTHERS = ("||", "-", "+", "%", "->", "->>", "@>", "~")
_LEFT_OF_OTHERS = ("text", "name", "int4", "int8", "json", "jsonb", "pg_lsn", "timestamptz", "text[]", "int2vector")
_MOST_VARIANTS = 120


def called() -> set[str]:
    """Names before a bracket in texts of the product: its SQL calls no function that is not among them."""
    sources = rules.read_sources()
    texts = (
        node.value
        for module, tree in sources.items()
        if module.partition(".")[0] in PACKAGES
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {name.lower() for text in texts for name in re.findall(r"\b([A-Za-z_][A-Za-z0-9_]*)\s*\(", text)}


def plant(dsn: str) -> tuple[int, int]:
    """Set every trap; how many functions and operators that are."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        functions, operators = list(_functions(connection)), list(_operators())
        # What exists already, or cannot be made, is none: one statement that fails must not undo the others.
        connection.execute(
            "CREATE FUNCTION public.plant(statements text[]) RETURNS int LANGUAGE plpgsql AS $$ "
            "DECLARE statement text; made int := 0; BEGIN "
            "FOREACH statement IN ARRAY statements LOOP BEGIN EXECUTE statement; made := made + 1; "
            "EXCEPTION WHEN duplicate_function OR invalid_function_definition OR datatype_mismatch "
            "OR undefined_function THEN NULL; END; END LOOP; RETURN made; END $$"
        )
        made = []
        for statements in (functions, operators):
            [(count,)] = connection.execute("SELECT public.plant(%s)", [statements]).fetchall()
            made.append(int(count))
    return made[0], made[1]


def _functions(connection: psycopg.Connection) -> Iterator[str]:
    known = connection.execute(
        "SELECT p.proname::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t), p.proretset, "
        "format_type(p.prorettype, NULL) FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace "
        "AND p.prokind IN ('f', 'a') AND p.pronargs BETWEEN 1 AND 4 AND p.proname = ANY (%s)",
        [sorted(called())],
    ).fetchall()
    taken = {(name, tuple(arguments)) for name, arguments, _, _ in known}
    for name, arguments, many, result in known:
        choices = [_NEARER.get(kind, (kind,)) for kind in arguments]
        for chosen in itertools.islice(itertools.product(*choices), _MOST_VARIANTS):
            if (name, chosen) not in taken:
                taken.add((name, chosen))
                yield _function(name, chosen, many, result)


def _function(name: str, arguments: tuple[str, ...], many: bool, result: str) -> str:
    kind = "text" if result.startswith("any") or result in ("record", "internal", "void", '"any"') else result
    returns, end = ("SETOF " + kind, "RETURN") if many else (kind, "RETURN NULL")
    return (
        f'CREATE FUNCTION public."{name}"({", ".join(arguments)}) RETURNS {returns} LANGUAGE plpgsql AS '
        f"$$ BEGIN RAISE WARNING '{MARK}: {name}({', '.join(arguments)})'; {end}; END $$"
    )


def _operators() -> Iterator[str]:
    for place, (left, right) in enumerate(itertools.product(_OPERANDS, _OPERANDS)):
        yield (
            f"CREATE FUNCTION public.trap_{place}({left}, {right}) RETURNS bool LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE WARNING '{MARK}: {left} and {right}'; RETURN NULL; END $$"
        )
        for operator in _COMPARISONS + (_OTHERS if left in _LEFT_OF_OTHERS else ()):
            yield (
                f"CREATE OPERATOR public.{operator} "
                f"(LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.trap_{place})"
            )
