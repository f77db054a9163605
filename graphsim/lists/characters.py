"""The characters that SharePoint cannot hold.

In: texts of items, lists and columns. Out: a pattern, and the refusal of a text it is found in. Rule: what XML 1.0
cannot carry, no part of a list can.
"""

import re

from graphsim.http.errors import invalid

XML_LACKS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def check_characters(what: str, *texts: str) -> None:
    """GraphError 400 for a text with characters that XML lacks; `what` names its place."""
    if any(XML_LACKS.search(text) for text in texts):
        raise invalid(f"{what} has characters that XML cannot hold")
