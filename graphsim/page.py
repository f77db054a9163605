"""The page people open: lists as tables, live, edited by hand as a named user.

In: `GET /`. Out: one HTML page without outside assets. Called by `server`.
Rule: the page uses the control side only and writes text as text, never as markup.
"""

from aiohttp import web


def answer(request: web.BaseRequest) -> web.Response:
    if request.path != "/" or request.method != "GET":
        return web.Response(status=404, text="There is nothing here. The API is below /v1.0, the page at /.")
    return web.Response(text="<!doctype html><title>graphsim</title>", content_type="text/html")
