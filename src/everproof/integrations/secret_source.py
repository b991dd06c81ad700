"""Secrets of other systems, read where the settings say they lie, at each use: a new one is taken without a restart."""

import os
import stat
from pathlib import Path
from typing import Final

from everproof.kernel.errors import InputError
from everproof.secrets import NotMadeError

MAX_BYTES: Final = 64 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class SecretError(NotMadeError):
    """A secret is not where the settings say, so nothing was asked for with it."""

    code = "secret-missing"


class SecretSource:
    """``file:PATH``, a file that is closed to other accounts, or ``env:NAME``."""

    def __init__(self, spec: str, *, place: str) -> None:
        """Remember where to look.

        Raises:
            InputError: neither of the two.
        """
        self._kind, _, self._name = spec.partition(":")
        self._place = place
        if self._kind not in {"file", "env"} or not self._name:
            # What was given instead may be the secret itself, so it is not repeated.
            raise InputError("must be file:PATH or env:NAME", place=place)

    def read(self) -> bytes:
        """The secret, without white space around it.

        Raises:
            SecretError: it is not there, or others may read it.
        """
        found = os.environ.get(self._name, "").encode() if self._kind == "env" else self._file()
        if not found.strip():
            raise SecretError(f"{self._kind}:{self._name} is empty", place=self._place)
        return found.strip()

    def _file(self) -> bytes:
        try:
            with Path(self._name).open("rb") as file:
                if os.fstat(file.fileno()).st_mode & _OTHERS:
                    raise SecretError(
                        f"{self._name} is open to other accounts", place=self._place, todo=f"chmod 600 {self._name}"
                    )
                return file.read(MAX_BYTES)
        except OSError as error:
            raise SecretError(f"{self._name} cannot be read: {error.strerror}", place=self._place) from error
