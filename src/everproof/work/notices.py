"""Notices: telling people what they should know, by durable jobs of the commit in which it came to be.

A notice is one job for each recipient and channel, so that one channel that is down holds up no other, and nothing that
cannot be delivered holds up the commit that caused it. Delivered at least once: a channel is given the same message id
at each attempt.
"""

import hashlib
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec
import structlog

from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import InputError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Ref
from everproof.storage import Change, Transaction
from everproof.work.records import HopelessError, Task
from everproof.work.room import Work

CHANNEL: Final = "Channel"
"""The type of a `Ref` that names a channel rather than whom it reaches."""
GROUP: Final = "Group"
EVERY_GROUP: Final = "*"
AT_ONCE: Final = 100
"""People who are told by jobs of the commit itself; of more, as many to a job, so that no commit is long."""

VERB: Final = "notify."
SPREAD: Final = "notify"
MAX_SUBJECT: Final = 150
MAX_TEXT: Final = 3_000
MAX_LINK: Final = 500
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_KEY_BYTES: Final = 16

_log: Final = structlog.get_logger("everproof.notices")


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known, by whom: people, groups (their members), and channels by name (``Channel::"ops"``).

    ``link`` is a path of our own, so nobody's words can lead elsewhere. ``text`` is plain, and never holds a secret.
    Two notices of one ``key`` are one notice.
    """

    to: tuple[Ref, ...]
    subject: str
    text: str
    link: str = ""
    key: str = ""


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who can be told: ``addresses`` are their own, as the directory has them."""

    ref: Ref
    name: str = ""
    addresses: tuple[str, ...] = ()


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as one channel is given it, for one recipient; ``link`` is a whole address, or empty.

    ``id`` and ``sent`` (milliseconds) are the same at each attempt.
    """

    id: str
    sent: int
    to: Recipient
    subject: str
    text: str
    link: str = ""


class Channel(Protocol):
    """A way to tell.

    ``people``: it reaches each person by their own address. ``groups``: whose notices it hears as one message; ``*``:
    every group's.
    """

    people: bool
    groups: frozenset[str]

    async def deliver(self, message: Message) -> None:
        """Tell it.

        Raises:
            HopelessError: trying again cannot help.
            PostponedError: not before the time it names.
            Error: not now.
        """
        ...


class _Whole(msgspec.Struct, frozen=True, kw_only=True):
    """What all messages of one notice have in common."""

    id: str
    sent: int
    subject: str
    text: str
    link: str


class _Part(msgspec.Struct, frozen=True):
    """Some of those whom a notice reaches: each a channel, and who is told by it."""

    whole: _Whole
    to: tuple[tuple[str, Ref], ...]


_Reached: TypeAlias = tuple[str, Recipient]

Whose = Callable[[Ref], Iterable[Recipient]]
"""Those a `Ref` stands for: the person, or a group's members."""


class Notices:
    """The channels of one server, and what is sent by them."""

    def __init__(self, work: Work, channels: Mapping[str, Channel], *, base: str, whose: Whose) -> None:
        """``base`` is our own address, which links begin with."""
        self._work = work
        self._channels = dict(channels)
        self._base = base.rstrip("/")
        self._whose = whose
        for name, channel in self._channels.items():
            work.register(f"{VERB}{name}", _delivery(channel))
        work.register(SPREAD, self._spread)

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels."""
        return tuple(sorted(self._channels))

    def send(self, tx: Transaction, notice: Notice) -> tuple[str, ...]:
        """Put a notice on its way within ``tx``; the jobs that deliver it, none where no channel reaches anyone.

        Raises:
            InputError: the link is not a path of our own. Nothing else is refused: what is too long is cut, and what is
                invisible is taken out.
        """
        link = self._link(notice.link)
        subject = _line(notice.subject)
        text = _lines(notice.text)
        id_ = _key(notice.key) if notice.key else new_id("evt").removeprefix("evt_")
        whole = _Whole(id=id_, sent=milliseconds(tx.now), subject=subject, text=text, link=link)
        reached = list(dict.fromkeys(self._reached(notice.to)))
        if not reached:
            _log.info("a notice reaches nobody", subject=subject, to=[str(one) for one in notice.to])
        if len(reached) <= AT_ONCE:
            return tuple(self._enqueue(tx, whole, channel, to) for channel, to in reached)
        return tuple(self._put_off(tx, whole, part) for part in _parts(reached))

    def _enqueue(self, tx: Transaction, whole: "_Whole", channel: str, to: Recipient) -> str:
        """One job: one recipient on one channel."""
        message = Message(
            id=f"{whole.id}.{_key(f'{channel} {to.ref}')}", sent=whole.sent, to=to, subject=whole.subject,
            text=whole.text, link=whole.link,
        )  # fmt: skip
        about = to.ref if to.ref.type == "User" else MAIN_SPACE
        payload = msgspec.to_builtins(message)
        return self._work.enqueue(tx, f"{VERB}{channel}", payload, key=f"{VERB}{message.id}", about=about)

    def _put_off(self, tx: Transaction, whole: "_Whole", part: Sequence["_Reached"]) -> str:
        """A job that makes the jobs of many, who are only named in it."""
        refs = tuple((channel, to.ref) for channel, to in part)
        payload = msgspec.to_builtins(_Part(whole, refs))
        return self._work.enqueue(tx, SPREAD, payload, key=f"{SPREAD}/{whole.id}.{_key(repr(refs))}")

    async def _spread(self, task: Task) -> Change[None]:
        try:
            part = msgspec.convert(task.payload, _Part)
        except msgspec.ValidationError as error:
            raise HopelessError("a message of another version") from error

        def spread(tx: Transaction) -> None:
            for channel, ref in part.to:
                for to in [Recipient(ref=ref, name=ref.id)] if ref.type in {CHANNEL, GROUP} else self._whose(ref):
                    if channel in self._channels:
                        self._enqueue(tx, part.whole, channel, to)

        return spread

    def _reached(self, to: Iterable[Ref]) -> Iterator["_Reached"]:
        for ref in dict.fromkeys(to):
            if ref.type == CHANNEL:
                if ref.id in self._channels:
                    yield ref.id, Recipient(ref=ref)
                else:
                    _log.warning("a notice names a channel that there is not", channel=ref.id)
                continue
            people = list(self._whose(ref))
            for name, channel in self._channels.items():
                if ref.type == GROUP and channel.groups & {ref.id, EVERY_GROUP}:
                    yield name, Recipient(ref=ref, name=ref.id)
                elif channel.people:
                    for one in people:
                        yield name, one

    def _link(self, path: str) -> str:
        if not path:
            return ""
        plain = path.isascii() and path.isprintable() and not set(path) & set(' \\<>"|')
        if not path.startswith("/") or path.startswith("//") or not plain or len(path) > MAX_LINK:
            raise InputError("a notice's link is a path of our own", place="link")
        return f"{self._base}{path}"


def _delivery(channel: Channel) -> Callable[[Task], Awaitable[None]]:
    async def deliver(task: Task) -> None:
        try:
            message = msgspec.convert(task.payload, Message)
        except msgspec.ValidationError as error:
            raise HopelessError("a message of another version") from error
        await channel.deliver(message)

    return deliver


def _parts(reached: Sequence[_Reached]) -> Iterator[Sequence[_Reached]]:
    for at in range(0, len(reached), AT_ONCE):
        yield reached[at : at + AT_ONCE]


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[: 2 * _KEY_BYTES]


def _line(text: str) -> str:
    """``text`` in one line, without what is invisible or reorders what is around it."""
    return _cut(" ".join(_visible(text, " ").split()), MAX_SUBJECT)


def _lines(text: str) -> str:
    return _cut("\n".join(_visible(line, "\N{REPLACEMENT CHARACTER}") for line in text.splitlines()), MAX_TEXT)


def _visible(text: str, instead: str) -> str:
    return "".join(instead if unicodedata.category(one) in _INVISIBLE else one for one in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
