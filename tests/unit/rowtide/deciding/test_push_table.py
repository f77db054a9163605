"""The table in the docstring of push, held against the code: every step, every answer, exactly what follows.

Claims of many rows are driven with every answer, several commands deep; what follows is noted by step and answer. Each
cell of the table has to name all of it and nothing else.
"""

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import assert_never, get_args

import pytest

from rowtide.deciding import in_flight, push
from rowtide.deciding.answers import Answer, Changed, Deleted, Found, Missing, NotApplied, Rejected, Unknown, Written
from rowtide.deciding.in_flight import InFlight
from rowtide.deciding.outcomes import ParkRow, Release, Settle
from rowtide.deciding.records import (
    Desired,
    Held,
    LeftItem,
    Leftover,
    ListId,
    LostPost,
    NoItem,
    Sent,
    Standing,
    Work,
    WrongKey,
)
from tests.unit.rowtide.deciding.rows import ITEM, KNOWN, NEW, NOW, RULES, A, B, C, desired, g, h, held, item, sent

DEPTH = 3
STEPS = [step.__name__ for step in get_args(in_flight.Step)]
ANSWERS = ["Written", "Deleted", "Missing", "Changed", "Found", "None", "NotApplied", "Unknown", "Rejected"]
PAST, SOON = NOW - timedelta(seconds=1), NOW + timedelta(seconds=50)

Cell = tuple[str, str]


# --- the table as it is written -----------------------------------------------------------------------------------


def written_table() -> dict[Cell, set[str]]:
    """Step and answer -> what may follow, with the words below the table put in."""
    text = push.__doc__ or ""
    _, header, rows, below = re.split(r"^ *=[= ]+=\n", text, flags=re.MULTILINE)
    ruler = next(line for line in text.splitlines() if re.fullmatch(r" *=[= ]+=", line))
    columns = [match.span() for match in re.finditer("=+", ruler)]
    names = cells_of(header, columns)[1:]
    assert names == ANSWERS
    words = dict(re.findall(r"^    ([a-z]+) {2,}(.+)$", below, flags=re.MULTILINE))
    table: dict[Cell, set[str]] = {}
    for line in rows.splitlines():
        step, *cells = cells_of(line, columns)
        table |= {(step, name): kinds(cell, words) for name, cell in zip(names, cells, strict=True)}
    return table


def cells_of(line: str, columns: list[tuple[int, int]]) -> list[str]:
    return [line[start:end].strip() for start, end in columns]


def kinds(cell: str, words: dict[str, str]) -> set[str]:
    """The kinds a cell names; ``wait`` and ``unsure`` are kinds, other small words stand for several."""
    found: set[str] = set()
    for word in cell.split():
        found |= {word} if word in ("wait", "unsure") or word[0].isupper() else kinds(words[word], words)
    return found


# --- what the code does -------------------------------------------------------------------------------------------


def works() -> Iterator[Work]:
    """Rows of every kind: what is wanted of them, what is known of them, what may have been sent for them."""
    known: list[NoItem | Held | None] = [None, NoItem(held().as_of, held().item)]
    leftovers: list[tuple[Leftover, ...]] = [
        (),
        (LeftItem(A, ITEM, g(3)), LeftItem(C, ITEM)),
        (LeftItem(C, ITEM, g(3)), LeftItem(C, NEW, g(1))),
        (LostPost(C, SOON), LeftItem(C, ITEM), LeftItem(C, NEW, g(1))),
        (LostPost(C, SOON), LeftItem(C, ITEM)),
        (LostPost(B, PAST), LeftItem(A, ITEM)),
        (LostPost(A, SOON), LostPost(C, PAST), LeftItem(C, ITEM, g(1))),
        (LeftItem(A, ITEM, g(3)), LostPost(C, SOON)),
        (WrongKey(A, NEW, g(1)),),
        (WrongKey(A, NEW, g(1)), WrongKey(C, ITEM, g(1))),
        (WrongKey(A, NEW, g(1)), LeftItem(C, ITEM, g(3))),
        (WrongKey(A, NEW, g(1)), LostPost(C, SOON)),
    ]
    known += [held(leftovers=left) for left in leftovers]
    known += [held(list_id=B, item_id=NEW, etag=h(1), leftovers=left) for left in leftovers]
    known += [NoItem(held().as_of, None, left) for left in leftovers[1:]]
    known += [held(etag=None), held(standing=Standing.KEPT), held(base={"a": "2", "b": "x"})]
    attempts: list[tuple[Sent, ...]] = [
        (),
        (sent(),),
        (sent(list_id=B, age_s=200),),
        (sent("d", None),),
        (sent("d", None, age_s=200), sent(age_s=200)),
    ]
    for pair, before, wanted in itertools.product(known, attempts, wants()):
        yield Work(replace(wanted, sent=before), pair)


def wants() -> list[Desired]:
    same = {"a": "1", "b": "x"}
    unknown: ListId | None = None
    return [
        desired(),
        desired(fields=same, attempts=8),
        desired(list_id=B),
        desired(list_id=unknown, target="Gone"),
        desired("d", None),
        desired(position=KNOWN._replace(lsn=1)),
    ]


def answers() -> dict[str, list[Answer]]:
    mine = item(4, a="2")
    return {
        "Written": [Written(ITEM, g(4)), Written(ITEM, None), Written(NEW, h(1), {"a": "2", "b": "x"})],
        "Deleted": [Deleted()],
        "Missing": [Missing()],
        "Changed": [Changed()],
        "Found": [
            Found((item(3),)),
            Found((mine,)),
            Found((item(8, b="theirs"),)),
            Found((item(1),)),
            Found((mine, item(1, NEW))),
            Found((replace(mine, row_key=None),)),
        ],
        "None": [Found(())],
        "NotApplied": [NotApplied(1.0, "throttled")],
        "Unknown": [Unknown("lost")],
        "Rejected": [
            Rejected(409, "taken", "no", duplicate=True),
            Rejected(400, "bad", "no"),
            Rejected(0, "own", "no"),
        ],
    }


def kind_of(plan: InFlight | Settle | ParkRow | Release) -> str:
    match plan:
        case InFlight(step=step):
            return type(step).__name__
        case Settle():
            return "Settle"
        case ParkRow():
            return "Park"
        case Release(unknown=unknown):
            return "unsure" if unknown else "wait"
        case _:
            assert_never(plan)


@functools.cache
def observed_table() -> dict[Cell, set[str]]:
    """Step and answer -> what follows in any of the claims: seconds of work, so not while tests are collected."""
    table: dict[Cell, set[str]] = defaultdict(set)
    begun = [plan for work in works() if isinstance(plan := push.first(work, RULES, NOW), InFlight)]
    seen: set[str] = set()
    for _ in range(DEPTH):
        later: list[InFlight] = []
        for claim in begun:
            for name, variants in answers().items():
                for answer in variants:
                    plan = push.after(claim, answer, RULES, NOW)
                    table[type(claim.step).__name__, name].add(kind_of(plan))
                    if isinstance(plan, InFlight) and (mark := repr(plan)) not in seen:
                        seen.add(mark)
                        later.append(plan)
        begun = later
    return table


WRITTEN = written_table()


def test_the_table_has_every_step_and_every_answer() -> None:
    assert set(WRITTEN) == set(itertools.product(STEPS, ANSWERS))
    assert set(observed_table()) == set(WRITTEN)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("step", STEPS)
def test_a_cell_says_exactly_what_follows(step: str, answer: str) -> None:
    assert observed_table()[step, answer] == WRITTEN[step, answer]
