import asyncio

import pytest

from tensortab import assets, chrome, firefox, system
from tensortab.errors import SetupError


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes an empty program in the only folder of the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TENSORTAB_CHROME", raising=False)

    def make(name):
        path = tmp_path / name
        path.touch(mode=0o755)
        return path

    return make


def test_looks_in_order(program, monkeypatch):
    with pytest.raises(SetupError, match=r"install Chrome or Chromium .* or TENSORTAB_CHROME"):
        chrome.find(None, "/no/own", install=False)
    chromium = program("chromium")
    assert chrome.find(None, "/no/own") == chromium
    google = program("google-chrome")
    assert chrome.find(None, "/no/own") == google
    own = program("own")
    assert chrome.find(None, str(own)) == own
    named = program("named")
    monkeypatch.setenv("TENSORTAB_CHROME", "named")
    assert chrome.find(None, str(own)) == named
    assert chrome.find(str(chromium), str(own)) == chromium


def test_a_named_program_that_is_not_there_is_an_error(program):
    program("chromium")
    with pytest.raises(SetupError, match="no program at /no/chrome"):
        chrome.find("/no/chrome", "/no/own")


def test_root_gets_chromium_from_apt(program, monkeypatch):
    asked = []

    def apt(package, why):
        asked.append((package, why))
        program("chromium")

    monkeypatch.setattr(system, "can_apt", lambda: True)
    monkeypatch.setattr(system, "apt", apt)
    assert chrome.find(None, "/no/own").name == "chromium"
    assert asked == [("chromium", "Chromium")]


def test_others_are_told_the_command(monkeypatch):
    monkeypatch.setattr(system, "can_apt", lambda: False)
    with pytest.raises(SetupError, match="as root, run `apt-get update && apt-get install -y x`"):
        system.apt("x", "X")


def test_the_adapter_can_be_chosen(monkeypatch):
    monkeypatch.setenv("TENSORTAB_ADAPTER", "gpu")
    assert "--use-angle=vulkan" in chrome.flags()
    monkeypatch.setenv("TENSORTAB_ADAPTER", "gpu-f16")
    assert chrome.flags()[-1].endswith("allow_unsafe_apis,vulkan_enable_f16_on_nvidia")
    monkeypatch.setenv("TENSORTAB_ADAPTER", "swiftshader")
    assert "--use-webgpu-adapter=swiftshader" in chrome.flags()
    monkeypatch.setenv("TENSORTAB_ADAPTER", "voodoo")
    with pytest.raises(SetupError, match="'voodoo', expected one of swiftshader, gpu, gpu-f16"):
        chrome.flags()


@pytest.mark.parametrize("there", [True, False])
def test_software_is_used_only_where_there_is_no_gpu(monkeypatch, there):
    monkeypatch.delenv("TENSORTAB_ADAPTER", raising=False)
    monkeypatch.setattr(system, "has_gpu", lambda: there)
    assert chrome.adapter() == ("gpu" if there else "swiftshader")


def test_a_program_that_is_no_browser_is_named(tmp_path):
    path = tmp_path / "chrome"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)

    async def start():
        async with chrome.launch(str(path)):
            pass

    with pytest.raises(SetupError, match=f"{path} did not start: "):
        asyncio.run(start())


@pytest.mark.usefixtures("chrome")
def test_a_browser_leaves_no_profile_behind(short_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(short_path))

    async def visit():
        async with chrome.launch() as browser:
            await (await browser.new_page()).goto("about:blank")
            assert list(short_path.iterdir())

    asyncio.run(visit())
    assert list(short_path.iterdir()) == []


def test_firefoxs_preferences_are_lines_of_javascript():
    lines = firefox.preferences().splitlines()
    assert 'user_pref("dom.webgpu.enabled", true);' in lines
    assert 'user_pref("toolkit.telemetry.enabled", false);' in lines
    names = [line.split('"')[1] for line in lines]
    assert len(names) == len(set(names))


def test_firefox_missing_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match="apt-get install firefox-esr"):
        firefox.find(install=False)


def test_kernels_and_pages_are_found():
    assert (assets.WGSL / "softmax.wgsl").is_file()
    assert (assets.WEB / "boot.js").is_file()
