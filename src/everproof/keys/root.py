"""The root key: the one secret that is not in the database. It wraps the keyring, and nothing else."""

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from everproof.kernel.errors import Error, InputError
from everproof.keys.envelope import KEY_BYTES, open_with, seal_with

FILE_NAME: Final = "root.key"

MAX_FILE_BYTES: Final = 128
"""A line of base64 is 45 bytes; more than this is another file."""

ALLOWED_MODE: Final = stat.S_IRUSR | stat.S_IWUSR
"""0600: whoever can read the root key can read everything."""


class RootKeyError(Error):
    """The root key is missing, malformed, open to others, or not the one that this database was sealed under."""

    code = "root-key"
    status = 500


class RootKey(Protocol):
    """Wraps and unwraps the keyring's keys.

    Here it is 32 bytes in a file or the environment. A key management service fills the same interface by calling out
    (``context`` is then its encryption context), and key shares by being put together before.
    """

    @property
    def id(self) -> str:
        """Names this key and tells nothing of it; the same key has the same id wherever it is kept.

        Raises:
            RootKeyError: the key is missing.
        """
        ...

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """``key``, readable only with this root key and the same ``context``. Makes the root key if it may."""
        ...

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """What was wrapped.

        Raises:
            RootKeyError: wrapped by another root key, for another context, or changed since.
        """
        ...


class LocalRootKey:
    """A root key in this process's memory."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)
        self.id = hashlib.sha256(b"everproof root key id\0" + secret).hexdigest()[:32]

    def __repr__(self) -> str:
        return f"LocalRootKey(id={self.id!r})"

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """AES-256-GCM under a random nonce, bound to ``context``."""
        return seal_with(self._cipher, key, context)

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """As in ``RootKey``."""
        try:
            return open_with(self._cipher, wrapped, context)
        except InvalidTag:
            raise RootKeyError(
                f"root key {self.id} does not open the keyring: it was changed or belongs elsewhere",
                todo="put back the database or the root key that belong together",
            ) from None


class FileRootKey:
    """A root key in a file of mode 0600, made when something is first wrapped.

    It is not made when asked for its ``id``: a lost file beside a sealed database is an error, not a new key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = _read(path) if path.exists() else None

    def __repr__(self) -> str:
        return f"FileRootKey({str(self._path)!r})"

    @property
    def id(self) -> str:
        """As in ``RootKey``."""
        return self._existing().id

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """As in ``RootKey``."""
        if self._key is None:
            _make(self._path)
            self._key = _read(self._path)
        return self._key.wrap(key, context=context)

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """As in ``RootKey``."""
        return self._existing().unwrap(wrapped, context=context)

    def _existing(self) -> LocalRootKey:
        if self._key is None:
            raise RootKeyError(
                "the root key is missing, and the database is sealed under it",
                place=str(self._path),
                todo="put the file back from its backup; without it nothing that is sealed can be read",
            )
        return self._key


def open_root_key(spec: str, state: Path) -> RootKey:
    """The root key that ``spec`` names: ``file:PATH``, ``env:NAME`` or nothing, for ``root.key`` in ``state``.

    Raises:
        InputError: ``spec`` has another form.
        RootKeyError: the key is malformed, or others may read its file.
    """
    kind, _, name = (spec or f"file:{state / FILE_NAME}").partition(":")
    if kind == "file" and name:
        return FileRootKey(Path(name).expanduser())
    if kind == "env" and name:
        text = os.environ.get(name)
        if not text:
            raise RootKeyError(
                "the root key is missing: this variable is not set", place=f"environment: {name}", todo=_MAKE_ONE
            )
        return LocalRootKey(_decode(text, place=f"environment: {name}"))
    raise InputError("not the form of a root key", place="root_key", todo="write file:PATH or env:NAME")


_MAKE_ONE: Final = "make a key with `openssl rand -base64 32`, and keep a copy in a safe place"


def _decode(text: str, *, place: str) -> bytes:
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:  # the text is not shown: it may be a real key with a slip in it
        raise RootKeyError(f"the root key is not {KEY_BYTES} bytes in base64", place=place, todo=_MAKE_ONE)
    return secret


def _read(path: Path) -> LocalRootKey:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RootKeyError(f"the root key cannot be read: {error.strerror}", place=str(path)) from error
    try:
        _require_private(path, os.fstat(descriptor))  # what was opened cannot be exchanged after the look
        text = os.read(descriptor, MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(text) > MAX_FILE_BYTES or not text.isascii():
        text = b""
    return LocalRootKey(_decode(text.decode("ascii"), place=str(path)))


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RootKeyError("the root key is not a regular file", place=str(path))
    if status.st_uid != os.geteuid():
        raise RootKeyError(
            f"the root key belongs to user {status.st_uid}, not to {os.geteuid()} that runs the server",
            place=str(path),
            todo=f"chown {os.geteuid()} {path}",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & ~ALLOWED_MODE:
        raise RootKeyError(
            f"the root key has mode {mode:04o}: others may have read it",
            place=str(path),
            todo=f"chmod 600 {path}, then rotate the root key if anyone else has an account here",
        )


def _make(path: Path) -> None:
    """Write a new key so that ``path`` is either whole and durable, or not there; never over an existing file."""
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, ALLOWED_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        return  # another start made it first; it is read next
    except OSError as error:
        raise RootKeyError(f"the root key cannot be made: {error.strerror}", place=str(path)) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
