"""The files of the page that people open: lists as tables, live, edited by hand as a named user.

In: `GET /`, `/page.css`, `/page.js`. Out: the files of the folder `page`. Rules: the page uses the control side only
and writes text as text, never as markup; nothing comes from another host.
"""

from functools import cache
from pathlib import Path

from aiohttp import web

_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}


@cache
def _read(name: str) -> bytes:
    return (Path(__file__).with_name("page") / name).read_bytes()


def answer(request: web.BaseRequest) -> web.Response:
    """A file of the page, or 404 for any other address outside of the API."""
    file = _FILES.get(request.path)
    if file is None or request.method != "GET":
        return web.Response(status=404, text="There is nothing here. The API is below /v1.0, the page at /.")
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return web.Response(body=_read(file[0]), content_type=file[1], charset="utf-8", headers=headers)
