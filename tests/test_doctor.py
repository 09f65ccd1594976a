import asyncio

import pytest

from tensortab import doctor, system, vendor


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("chrome")
def test_a_machine_that_is_set_up_is_well(capsys, native):
    assert asyncio.run(doctor.report())
    text = capsys.readouterr().out
    assert "Chromium" in text
    assert "maxBufferSize" in text
    assert "timestamp-query" in text
    assert native.info.description[:8] in text


def test_a_bare_machine_is_told_what_to_get(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(vendor, "cache", lambda: tmp_path)
    monkeypatch.setattr(system, "can_apt", lambda: False)
    monkeypatch.setenv("TENSORTAB_CHROME", "/no/chrome")
    assert not asyncio.run(doctor.report())
    text = capsys.readouterr().out
    assert "tensortab setup" in text
    assert "no program at /no/chrome" in text
    assert "adapter in Chromium" not in text
