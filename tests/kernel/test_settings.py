from pathlib import Path

import pytest

from everproof.kernel.errors import InputError
from everproof.kernel.settings import FILE_NAME, load_settings


def test_without_a_file_everything_has_a_working_default(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.issuer == "https://localhost:8443"
    assert settings.database_url == f"sqlite:///{tmp_path / 'everproof.db'}"


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_text('port = 9000\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("EVERPROOF_PORT", "9001")
    settings = load_settings(tmp_path)
    assert (settings.host, settings.port) == ("0.0.0.0", 9001)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("prot = 1", "prot"),
        ('port = "8443"', "port"),
        ("port = = 1", "line 1"),
        ("[git]\n", "git"),
        ('[git]\nroot = "/srv"\nuser = 7\n', "git.user"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(InputError) as caught:
        load_settings(tmp_path)
    assert FILE_NAME in str(caught.value)
    assert place in str(caught.value)


def test_a_port_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERPROOF_PORT", "many")
    with pytest.raises(InputError, match="EVERPROOF_PORT"):
        load_settings(tmp_path)
