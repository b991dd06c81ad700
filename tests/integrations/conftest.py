from collections.abc import Iterator

import pytest

from tests.issuer import Issuer, running


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    """A real issuer over HTTPS, at the root of its host."""
    with running(tmp_path_factory.mktemp("platform"), path="") as issuer:
        yield issuer
