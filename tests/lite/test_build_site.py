from pathlib import Path
from types import ModuleType

import pytest

from tensortab.errors import SetupError


def test_refuses_to_replace_what_is_no_site(build_site: ModuleType, tmp_path: Path) -> None:
    kept = tmp_path / "thesis.tex"
    kept.touch()
    with pytest.raises(SetupError, match="is no site of notebooks; it is not replaced"):
        build_site.build(tmp_path)
    assert kept.exists()
