"""Every view for everyone: axe-core's rules, and the keyboard."""

import pytest

from axe import serious
from visit import Visit

VIEWS = "nav a"


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(ready: Visit, width: int, scheme: str) -> None:
    ready.do(ready.page.set_viewport_size({"width": width, "height": 800}))
    ready.do(ready.page.emulate_media(color_scheme=scheme))
    links = ready.do(ready.page.locator(VIEWS).all())
    assert len(links) >= 2
    for link in links:
        ready.do(link.click())
        ready.expect("#engine").not_to_have_attribute("data-state", "loading")
        assert serious(ready) == []


def test_axe_would_find_something(ready: Visit) -> None:
    spoil = "document.querySelector('#prompt').insertAdjacentHTML('afterend', '<input id=bare>')"
    ready.do(ready.page.click("nav a[href='#write']"))
    ready.do(ready.page.evaluate(spoil))
    found = serious(ready)
    ready.do(ready.page.evaluate("document.querySelector('#bare').remove()"))
    assert [text.split(": ")[:2] for text in found] == [["label", "#bare"]]


def test_the_first_tab_skips_to_the_content(ready: Visit) -> None:
    ready.do(ready.page.click("nav a[href='#search']"))
    ready.do(ready.page.evaluate("document.activeElement.blur()"))
    ready.do(ready.page.focus("#skip"))
    box = ready.do(ready.page.locator("#skip").bounding_box())
    assert box["y"] >= 0, "what has the focus is out of sight"
    ready.do(ready.page.keyboard.press("Enter"))
    ready.expect("main").to_be_focused()
    ready.expect("#search").to_be_visible()
    ready.do(ready.page.keyboard.press("Tab"))
    ready.expect("#lines").to_be_focused()


def test_what_has_the_focus_is_seen(ready: Visit) -> None:
    ready.do(ready.page.click("nav a[href='#write']"))
    ready.do(ready.page.focus("#skip"))
    for _ in range(20):
        ready.do(ready.page.keyboard.press("Tab"))
        focused = ready.page.locator(":focus")
        outline = ready.do(focused.evaluate("e => getComputedStyle(e).outlineStyle"))
        assert outline == "solid"
