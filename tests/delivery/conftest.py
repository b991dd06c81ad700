import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import issuer as issuers
from tests.delivery.site import Site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """One server for all steps: each of them is another job."""
    with tempfile.TemporaryDirectory(prefix="everproof-") as name:  # short: it holds a unix socket
        folder = Path(name)
        (folder / "issuer").mkdir()
        with issuers.running(folder / "issuer") as issuer:
            site = Site(folder, issuer)
            yield site
            site.stop()
