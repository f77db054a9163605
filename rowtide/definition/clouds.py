"""Where our token and our credential may be sent.

In: the address of a Graph or of a login. Out: why it is none that they may go to. Rules (docs/design.md section 15):
what leaves this machine leaves it encrypted; what is not in one of Microsoft's clouds has to be called a simulator, so
that nobody is led to a stranger by a name that looks right.
"""

import re
from typing import Final

MICROSOFT: Final = frozenset(
    {"graph.microsoft.com", "graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"}
    | {"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
    | {"login.chinacloudapi.cn"}
)
"""Hosts of Graph and of logins, in Microsoft's global cloud and its national ones."""

_ADDRESS: Final = re.compile(r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?(/[^\s?#\\]*)?", re.IGNORECASE | re.ASCII)
_HERE: Final = re.compile(r"localhost|127(\.\d{1,3}){3}|\[::1\]", re.IGNORECASE)


def why_not(url: str, simulator: bool) -> str | None:
    """The end of a sentence; None where it may be."""
    found = _ADDRESS.fullmatch(url)
    if found is None:
        return "must be scheme, host, port and path alone, such as https://graph.microsoft.com/v1.0"
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    if _HERE.fullmatch(host):
        return None
    if scheme != "https":
        return "must begin with https:// because it is not on this machine: a token would be sent in clear"
    if simulator or (host in MICROSOFT and port in (None, ":443")):
        return None
    return "is in none of Microsoft's clouds; if it is a simulator's, say `simulator: true`"
