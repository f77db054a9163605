"""No character of a text acts on a terminal, and nothing else of it changes."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowtide.legible import legible, legible_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grün & 表 \U0001f600 100% \\x1b", "Grün & 表 \U0001f600 100% \\x1b"),
        ("\x1b]0;mine\x07", "\\x1b]0;mine\\x07"),
        ("\x1b]52;c;cm0=\x1b\\", "\\x1b]52;c;cm0=\\x1b\\"),
        ("\x9b2J", "\\x9b2J"),
        ("a\nerror x: forged\r\tb", "a\\nerror x: forged\\r\\tb"),
        ("safe\u202egpj.exe\u2066", "safe\\u202egpj.exe\\u2066"),
        ("one\u2028two", "one\\u2028two"),
    ],
)
def test_what_acts_is_escaped(text: str, shown: str) -> None:
    assert legible(text) == shown
    assert legible(shown) == shown


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert not any(unicodedata.category(one) in ("Cc", "Zl", "Zp", "Cs") for one in legible(text))


@given(st.text(st.characters(codec="utf-8")))
def test_a_json_document_means_what_it_meant(text: str) -> None:
    document = legible_json(json.dumps({"a": text}, indent=2, ensure_ascii=False))
    assert json.loads(document) == {"a": text}
    assert legible(document.replace("\n", "")) == document.replace("\n", "")
