"""The page that people open: lists as tables, live, edited by hand as a named user.

In: `GET /`. Out: one HTML page (`page.html`) without outside assets. Rule: the page uses the control side only and
writes text as text, never as markup.
"""

from functools import cache
from pathlib import Path

from aiohttp import web

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"


@cache
def _page() -> bytes:
    return Path(__file__).with_name("page.html").read_bytes()


def answer(request: web.BaseRequest) -> web.Response:
    """The page, or 404 for any other address outside of the API."""
    if request.path != "/" or request.method != "GET":
        return web.Response(status=404, text="There is nothing here. The API is below /v1.0, the page at /.")
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return web.Response(body=_page(), content_type="text/html", charset="utf-8", headers=headers)
