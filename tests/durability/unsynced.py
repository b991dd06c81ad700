"""A SQLite VFS that behaves at a crash as a disk does at a power loss: what was not synced is not there.

It stands before the default VFS of the very library that `sqlite3` uses. The content of databases, journals and logs is
kept in this process's memory, one image for each path, shared by all connections; a write reaches the real file only
when its file is synced. Killing the process is then losing the power.

- ``survivors`` is the chance that a sector of an unsynced write reaches the disk all the same, at once and out of
  order, as a kernel may write back any page at any time. At 0 all unsynced writes are lost.
- A delete is lost too, unless the folder is synced: SQLite asks for that with the delete, or does it with the first
  sync of a log or journal it has opened to be made. Deleted and made again before that, a path has its old content
  after the crash. That a file was made is kept at once, as file systems do with the first sync of the file.
- Locks and shared memory are the default VFS's own: the first connection after a crash makes the shared memory anew
  from the log. SQLite renames nothing. Files are not mapped into memory, so that every access is seen here.
"""

import _sqlite3
import ctypes
import os
import random
import threading
import traceback
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, cast
from dataclasses import dataclass, field
from typing import Any, Final

OK: Final = 0
IOERR: Final = 10
CANTOPEN: Final = 14
IOERR_SHORT_READ: Final = 522

OPEN_CREATE: Final = 0x4
OPEN_MAIN_DB: Final = 0x100
OPEN_MAIN_JOURNAL: Final = 0x800
OPEN_WAL: Final = 0x80000

SECTOR_BYTES: Final = 512
SHARED_MEMORY_VERSION: Final = 2
"""The version of the file methods that has shared memory and no mapping."""


class _Vfs(Structure):
    _fields_ = (
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("access", c_void_p),
        ("rest", c_void_p * 13),
    )


class _Methods(Structure):
    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("file_size", c_void_p),
        ("rest", c_void_p * 12),
    )


_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_Access = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, POINTER(c_int))
_Close = CFUNCTYPE(c_int, c_void_p)
_Read = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_Size = CFUNCTYPE(c_int, c_void_p, POINTER(c_int64))


@dataclass
class _Image:
    """What this process sees in one file, and what of it the disk has not been told for sure, in order."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes as (offset, bytes) and truncations as (size, None)."""


class _Disk:
    """The real file behind one open handle."""

    def __init__(self, handle: int, methods: _Methods) -> None:
        self._handle = handle
        self._read = _Read(methods.read)
        self._write = _Read(methods.write)
        self._truncate = _Truncate(methods.truncate)
        self._size = _Size(methods.file_size)
        self.close = _Close(methods.close)

    def content(self) -> bytearray:
        size = c_int64()
        _check(self._size(self._handle, ctypes.byref(size)))
        content = bytearray(size.value)
        if content:
            view = (ctypes.c_char * len(content)).from_buffer(content)
            _check(self._read(self._handle, ctypes.addressof(view), len(content), 0))
        return content

    def do(self, at: int, data: bytes | None) -> None:
        if data is None:
            _check(self._truncate(self._handle, at))
        else:
            _check(self._write(self._handle, cast(c_char_p(data), c_void_p), len(data), at))


@dataclass
class _File:
    path: str
    image: _Image
    disk: _Disk
    syncs_folder: bool


_registered: list["UnsyncedVfs"] = []
"""SQLite keeps pointers to them for the rest of the process."""


class UnsyncedVfs:
    """Registers itself under ``name``; databases are opened with it by ``file:PATH?vfs=NAME``."""

    def __init__(self, name: str, *, survivors: float = 0.0, seed: int = 0) -> None:
        self._survivors = survivors
        self._chance = random.Random(seed)
        self._lock = threading.RLock()
        self._images: dict[str, _Image] = {}
        self._deleted: set[str] = set()
        self._files: dict[int, _File] = {}
        self._tables: dict[int, _Methods] = {}
        self.syncs = 0
        library = ctypes.CDLL(_sqlite3.__file__)  # its symbols are looked up in the library that it is linked with
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        default = library.sqlite3_vfs_find(None).contents
        self._open = _Open(default.open)
        self._delete = _Delete(default.delete)
        self._access = _Access(default.access)
        self._vfs = _Vfs.from_buffer_copy(default)
        self._vfs.name = name.encode()
        self._kept = [
            _Open(_guarded(self._on_open)),
            _Delete(_guarded(self._on_delete)),
            _Access(_guarded(self._on_access)),
            _Close(_guarded(self._on_close)),
            _Read(_guarded(self._on_read)),
            _Read(_guarded(self._on_write)),
            _Truncate(_guarded(self._on_truncate)),
            _Sync(_guarded(self._on_sync)),
            _Size(_guarded(self._on_size)),
        ]
        self._vfs.open, self._vfs.delete, self._vfs.access = (cast(one, c_void_p).value for one in self._kept[:3])
        _check(library.sqlite3_vfs_register(ctypes.byref(self._vfs), 0))
        _registered.append(self)

    def _on_open(self, vfs: int, name: int | None, handle: int, flags: int, out: int) -> int:
        if name is None or not flags & (OPEN_MAIN_DB | OPEN_MAIN_JOURNAL | OPEN_WAL):
            return int(self._open(vfs, name, handle, flags, out))
        path = ctypes.string_at(name).decode()
        with self._lock:
            if path in self._deleted and not flags & OPEN_CREATE:
                return CANTOPEN
            if (result := int(self._open(vfs, name, handle, flags, out))) != OK:
                return result
            table = c_void_p.from_address(handle)
            assert table.value is not None
            disk = _Disk(handle, _Methods.from_address(table.value))
            if path in self._deleted:
                self._deleted.remove(path)
                self._images[path] = _Image(pending=[(0, None)])
            elif path not in self._images:
                self._images[path] = _Image(disk.content())
            syncs_folder = bool(flags & OPEN_CREATE and flags & (OPEN_MAIN_JOURNAL | OPEN_WAL))
            self._files[handle] = _File(path, self._images[path], disk, syncs_folder)
            table.value = ctypes.addressof(self._table(table.value))
        return OK

    def _table(self, original: int) -> _Methods:
        """The file methods of the default VFS with ours in the place of those that touch content."""
        if original not in self._tables:
            table = _Methods.from_buffer_copy(_Methods.from_address(original))
            table.version = min(table.version, SHARED_MEMORY_VERSION)
            names = ("close", "read", "write", "truncate", "sync", "file_size")
            for name, callback in zip(names, self._kept[3:], strict=True):
                setattr(table, name, cast(callback, c_void_p).value)
            self._tables[original] = table
        return self._tables[original]

    def _on_delete(self, _vfs: int, name: int, sync_folder: int) -> int:
        with self._lock:
            path = ctypes.string_at(name).decode()
            self._images.pop(path, None)
            self._deleted.add(path)
            if sync_folder:
                self._sync_folder(path)
        return OK

    def _on_access(self, vfs: int, name: int, flags: int, result: Any) -> int:
        if ctypes.string_at(name).decode() in self._deleted:
            result[0] = 0
            return OK
        return int(self._access(vfs, name, flags, result))

    def _on_close(self, handle: int) -> int:
        return int(self._files.pop(handle).disk.close(handle))

    def _on_read(self, handle: int, into: int, length: int, at: int) -> int:
        data = bytes(self._files[handle].image.content[at : at + length])
        ctypes.memmove(into, data.ljust(length, b"\0"), length)
        return OK if len(data) == length else IOERR_SHORT_READ

    def _on_write(self, handle: int, source: int, length: int, at: int) -> int:
        file = self._files[handle]
        data = ctypes.string_at(source, length)
        with self._lock:
            content = file.image.content
            if len(content) < at:
                content.extend(bytes(at - len(content)))
            content[at : at + length] = data
            file.image.pending.append((at, data))
            if self._survivors:
                for start in range(0, length, SECTOR_BYTES):
                    if self._chance.random() < self._survivors:
                        file.disk.do(at + start, data[start : start + SECTOR_BYTES])
        return OK

    def _on_truncate(self, handle: int, size: int) -> int:
        file = self._files[handle]
        with self._lock:
            del file.image.content[size:]
            file.image.pending.append((size, None))
        return OK

    def _on_sync(self, handle: int, _flags: int) -> int:
        file = self._files[handle]
        with self._lock:
            self.syncs += 1
            for at, data in file.image.pending:
                file.disk.do(at, data)
            file.image.pending.clear()  # the real sync is left out: to a killed process the kernel's memory is the disk
            if file.syncs_folder:
                file.syncs_folder = False
                self._sync_folder(file.path)
        return OK

    def _on_size(self, handle: int, result: Any) -> int:
        result[0] = len(self._files[handle].image.content)
        return OK

    def _sync_folder(self, path: str) -> None:
        folder = os.path.dirname(path)  # noqa: PTH120 - SQLite's own paths, compared as text
        for name in [name for name in self._deleted if os.path.dirname(name) == folder]:  # noqa: PTH120 - the same
            self._deleted.remove(name)
            self._delete(ctypes.addressof(self._vfs), cast(c_char_p(name.encode()), c_void_p), 0)


def _guarded(callback: Callable[..., int]) -> Callable[..., int]:
    """ctypes turns an exception into success; here it must end the process that is tested."""

    def call(*arguments: Any) -> int:
        try:
            return callback(*arguments)
        except BaseException:  # noqa: BLE001 - nothing may pass into C
            traceback.print_exc()
            os._exit(70)

    return call


def _check(result: int) -> None:
    assert result == OK, f"SQLite answered {result}"
