"""What the page's Content-Security-Policy keeps from happening, in the page and in its worker."""

from visit import Visit

FORBIDDEN = {
    "connect-src": "fetch('https://example.org/').catch(() => {})",
    "script-src": "import('https://example.org/a.js').catch(() => {})",
}
ADD = "document.head.append(Object.assign(document.createElement('%s'), {textContent: '%s'}))"
INLINE = {
    "script-src-elem": ADD % ("script", "window.ran = 1"),
    "script-src-attr": "document.body.setAttribute('onclick', 'window.ran = 1')",
    "style-src-attr": "document.body.setAttribute('style', 'color: red')",
    "style-src-elem": ADD % ("style", "a {}"),
    "img-src": "new Image().src = 'https://example.org/a.png'",
}
# What the policy says of a deed.
VIOLATED = """async () => new Promise((resolve) => {
  addEventListener("securitypolicyviolation", (e) => resolve(e.effectiveDirective), {once: true});
  DEED;
})"""


def test_nothing_foreign_and_nothing_inline(visit: Visit) -> None:
    visit.open("write", "ready")
    assert visit.complaints == []
    worker = next(w for w in visit.page.workers if w.url.endswith("/worker.js"))
    for directive, deed in FORBIDDEN.items():
        deed_done = VIOLATED.replace("DEED", deed)
        assert visit.do(worker.evaluate(deed_done)).startswith(directive)
    for directive, deed in {**FORBIDDEN, **INLINE}.items():
        told = visit.do(visit.page.evaluate(VIOLATED.replace("DEED", deed)))
        assert told.startswith(directive), deed
    assert visit.do(visit.page.evaluate("window.ran")) is None
    assert visit.foreign == []
