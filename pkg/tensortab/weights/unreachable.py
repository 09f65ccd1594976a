"""Why a page's fetch failed, which browsers do not say: they tell a TypeError for everything.

So the address is asked again, in ways that fail for one reason each: as before (does it fail
still?), then without wanting to read the answer (a server that answers now forbids reading), while
violations of the page's own policy are listened for. Source: fetch.spec.whatwg.org, w3c.org/TR/CSP.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import js
from pyodide.ffi import JsException, create_proxy, to_js

_TOLD = 0.05  # seconds until a violation's event has come


async def why(url: str) -> str:
    """The likeliest reason, as a clause."""
    if await _answers(url, mode="cors"):
        return "the connection broke off"
    violations: list[str] = []
    listener = create_proxy(lambda event: violations.append(str(event.effectiveDirective)))
    js.addEventListener("securitypolicyviolation", listener)
    try:
        if await _answers(url, mode="no-cors"):
            return (
                "the server lets no other site's pages read its files: it has to send"
                " Access-Control-Allow-Origin"
            )
        await asyncio.sleep(_TOLD)
    finally:
        js.removeEventListener("securitypolicyviolation", listener)
        listener.destroy()
    if violations:
        return (
            "this page's Content-Security-Policy lets it fetch nothing from"
            f" {urlsplit(url).netloc}; tensortab serve --hub ADDRESS names the one other place"
        )
    return "no server answers there" if js.navigator.onLine else "this machine is offline"


async def _answers(url: str, **options: Any) -> bool:
    request = {"method": "HEAD", "cache": "no-store", **options}
    try:
        await js.fetch(url, js.Object.fromEntries(to_js(list(request.items()))))
    except JsException:
        return False
    return True
