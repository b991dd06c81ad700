"""The session of a step: a file in a folder of its own, in memory where the system has such, gone when the step is."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from everproof.cli.step.wire import Key
from everproof.kernel.errors import UnavailableError

PLACES: Final = ("/dev/shm", "/tmp")  # noqa: S108 - the folder in it has a name of its own, and is made for us alone
MODE: Final = 0o700


class StepSession:
    """What `everproof ask`, `everproof git` and `everproof.client` find under ``EVERPROOF_SESSION`` within a step."""

    def __init__(self, server: str, ca: str, key: Key, environment: Mapping[str, str]) -> None:
        self._folder = _make_folder(environment.get("TMPDIR", ""))
        self.file = f"{self._folder}/session.json"
        self._fixed = {"server": server, "ca": ca, "key": key.pem}

    def keep(self, begun: Mapping[str, Any]) -> None:
        """Write what the server gave, whole or not at all."""
        ref = begun["principal"]
        content = {
            **self._fixed,
            "token": begun["access_token"],
            "expires": time.time() + begun["expires_in"],
            "principal": f'{ref["type"]}::"{ref["id"]}"',
            "stage": begun["stage"],
            "run": begun["id"],
        }
        fresh = f"{self._folder}/session.new"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, json.dumps(content).encode())
        finally:
            os.close(handle)
        os.replace(fresh, self.file)

    def remove(self) -> None:
        """Remove it, with whatever the step has put beside it."""
        with suppress(OSError):
            for name in os.listdir(self._folder):
                os.unlink(f"{self._folder}/{name}")
            os.rmdir(self._folder)
        if os.path.lexists(self._folder):
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)


def _make_folder(temporary: str) -> str:
    for place in filter(None, (*PLACES[:1], temporary, *PLACES[1:])):
        folder = f"{place}/everproof-{os.urandom(8).hex()}"
        with suppress(OSError):
            os.mkdir(folder, mode=MODE)
            return folder
    raise UnavailableError("there is no folder to keep the step's credential in", place=", ".join(PLACES))
