"""Rich text of a multi-line column as plain text.

In: the value of a multi-line column as Graph shows it. Out: the plain text in it; None when it has formatting. Called
by `rowtide.mapping.back_kinds`. Rule (docs/design.md section 20): a value that is not wrapped as SharePoint wraps rich
text is plain text already and stays as it is; formatting is refused, since a row that got the text without it, or with
the tags in it, would hold what nobody typed.
"""

import html
import re

_WRAPPED = re.compile(r'\s*<div class="ExternalClass[0-9A-Za-z]*">(.*)</div>\s*', re.DOTALL)
_TAG = re.compile(r"(</?[A-Za-z][^<>]*>)")
_LINES = re.compile(r"<(/?)(div|p|br|span)(?:\s+(?:class|dir|lang)=\"[^\"]*\")*\s*/?>", re.IGNORECASE)
_WITHOUT_WIDTH = str.maketrans({"\u200b": None, "\xa0": " "})


def plain(value: str) -> str | None:
    """The text without the tags that only make lines; None when other tags are in it."""
    wrapped = _WRAPPED.fullmatch(value)
    if wrapped is None:
        return value
    lines = [""]
    between = False  # a block began or ended: what comes next stands on a line of its own
    for place, part in enumerate(_TAG.split(wrapped.group(1))):
        if place % 2:
            tag = _LINES.fullmatch(part)
            if tag is None:
                return None
            match tag.group(2).lower():
                case "br":
                    lines.append("")
                    between = False
                case "div" | "p":
                    between = lines[-1] != ""
            continue
        # Line breaks of the markup itself, between two tags, are none of the text.
        if part.strip() or (part and "\n" not in part):
            if between:
                lines.append("")
                between = False
            lines[-1] += html.unescape(part).translate(_WITHOUT_WIDTH)
    return "\n".join(lines)
