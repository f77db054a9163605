"""Rich text is plain text with lines, or it is refused."""

import pytest

from rowtide.mapping import rich_text


def wrapped(markup: str) -> str:
    """Markup as SharePoint keeps rich text."""
    return f'<div class="ExternalClass0A1B2C">{markup}</div>'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("<div>not as SharePoint wraps it</div>", "<div>not as SharePoint wraps it</div>"),
        ("a < b and <b>so</b> on", "a < b and <b>so</b> on"),
        (wrapped(""), ""),
        (wrapped("one line"), "one line"),
        (wrapped("kept\nas it came"), "kept\nas it came"),
        (wrapped("a < b"), "a < b"),
        (wrapped("a &lt; b&#58; &amp;"), "a < b: &"),
        (wrapped("one<br>two<br/><br />four"), "one\ntwo\n\nfour"),
        (wrapped("<p>one</p><p>two</p>"), "one\ntwo"),
        (wrapped("<p>one</p>\n<p>two</p>\n"), "one\ntwo"),
        (wrapped("<div><div>one</div></div><div>two</div>"), "one\ntwo"),
        (wrapped('<p class="MsoNormal" dir="ltr"><span>one</span></p>'), "one"),
        (wrapped("one<br>"), "one\n"),
        (wrapped("\u200bword&#160;word"), "word word"),
    ],
)
def test_plain_text_is_found(value: str, text: str) -> None:
    assert rich_text.plain(value) == text


@pytest.mark.parametrize(
    "markup",
    [
        "<strong>bold</strong>",
        "<ul><li>one</li></ul>",
        '<a href="https://example.com">link</a>',
        '<img src="x.png">',
        '<span style="color:red">red</span>',
        "<p>one<table><tr><td>1</td></tr></table></p>",
    ],
)
def test_formatting_is_refused(markup: str) -> None:
    assert rich_text.plain(wrapped(markup)) is None
