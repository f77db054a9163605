"""Lines of COPY's text format say what they were made of, whatever it is."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from rowtide.change import Fields
from state.reconcile.backfill import Differences, chunk_line, park_line

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["\\", "\\N", "\t", "a\tb\\c\nd\re", "\\.", ""]
)


def read(line: str) -> list[str | None]:
    """COPY's text format, as PostgreSQL's documentation describes it."""
    assert line.endswith("\n")
    values: list[str | None] = []
    for text in line[:-1].split("\t"):
        if text == "\\N":
            values.append(None)
            continue
        out, characters = [], iter(text)
        for character in characters:
            if character == "\\":
                out.append({"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[next(characters)])
            else:
                out.append(character)
        values.append("".join(out))
    return values


@given(
    texts,
    texts,
    texts,
    st.dictionaries(texts, texts | st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
)
def test_a_line_holds_its_row(key: str, target: str, list_id: str, fields: Fields) -> None:
    values = read(chunk_line(key, target, list_id, fields))
    assert values[:3] == [key, target, list_id]
    assert orjson.loads(values[3] or "") == fields
    assert values[4:] == [None, None]


@given(texts, texts)
def test_a_parked_line_holds_its_reason(key: str, sentence: str) -> None:
    assert read(park_line(key, "too_long", sentence)) == [key, None, None, None, "too_long", sentence]


def test_differences_add_up() -> None:
    both = Differences(1, 2, 3, 4, 5).plus(Differences(10, 20, 30, 40, 50))
    assert both == Differences(11, 22, 33, 44, 55)
    assert both.staged == 165
