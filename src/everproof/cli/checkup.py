"""What `everproof doctor` looks at, one function for each; none of them changes anything."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from everproof.cli import bundles, session, ssh
from everproof.cli.state import has_database, open_ledger
from everproof.cli.terminal import lasting
from everproof.kernel.errors import ConflictError, Error, InputError, UnavailableError
from everproof.kernel.settings import Settings

if TYPE_CHECKING:
    import httpx

GIT: Final = (2, 34)
"""The first that signs commits with SSH keys."""
OPENSSH: Final = (8, 2)
"""The first with `ssh-keygen -Y` and security keys."""

ANSWER_SECONDS: Final = 5.0
CERTIFICATE_LEFT: Final = timedelta(days=7)
"""The server renews ten days before the end, so less than this means that it could not."""

GROUP_OR_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Finding(NamedTuple):
    """What one look found; ``todo`` says how to mend a problem."""

    name: str
    state: Literal["ok", "problem", "skipped"]
    what: str
    todo: str = ""


class Skipped(Exception):  # noqa: N818 - not an error
    """There is nothing to look at here."""


def checkup(settings: Settings) -> Iterator[Finding]:
    """Every look, one after the other."""
    for name, look in LOOKS.items():
        try:
            yield Finding(name, "ok", look(settings))
        except Skipped as reason:
            yield Finding(name, "skipped", str(reason))
        except Error as error:
            yield Finding(name, "problem", str(error), error.todo or "")
        except OSError as error:
            yield Finding(name, "problem", f"{error.filename or ''}: {error.strerror or error}")


def _require_server(settings: Settings) -> None:
    if not has_database(settings):
        raise Skipped(f"no server was ever started in {settings.state}")


def _state(settings: Settings) -> str:
    _require_server(settings)
    about = settings.state.stat()
    if about.st_uid not in (os.geteuid(), 0):
        todo = "run this command as the server's own account"
        raise ConflictError(f"belongs to user {about.st_uid}", place=str(settings.state), todo=todo)
    for path in (settings.state, *settings.state.iterdir()):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & GROUP_OR_OTHERS_WRITE and not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConflictError(f"others may write to it: {mode:04o}", place=str(path), todo=f"chmod go-w {path}")
    for name in ("root.key", "ca.key", "server.pem", "everproof.db"):
        file = settings.state / name
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise ConflictError("others may read it", place=str(file), todo=f"chmod 600 {file}")
    return str(settings.state)


def _database(settings: Settings) -> str:
    _require_server(settings)
    from everproof.storage import Storage

    storage = Storage.open_read_only(settings.database_url)
    storage.close()
    return "of this program's version"


def _keys(settings: Settings) -> str:
    _require_server(settings)
    with open_ledger(settings.state) as ledger:
        return f"the root key opens the keyring; the log's key is {ledger.log}"


def _ledger(settings: Settings) -> str:
    _require_server(settings)
    from everproof.ledger import store
    from everproof.ledger.checkpoint import open_checkpoint
    from everproof.ledger.rollback import missing_copy, read_copy, require_continuation
    from everproof.ledger.tiles import TileNodes

    with open_ledger(settings.state) as ledger, ledger.storage.reading() as connection:
        size, _ = store.read_head(connection)
        nodes = TileNodes(lambda level, n: store.read_tile(connection, level, n))
        checkpoint, _ = open_checkpoint(ledger.view.checkpoint(), ledger.log)
        require_continuation(checkpoint, size=size, nodes=nodes, place="the last checkpoint")
        kept = f"{size} entries, the last checkpoint at {checkpoint.size}"
        if settings.checkpoint_copy is None:
            return f"{kept}; no copy elsewhere would tell a rollback (checkpoint_copy in server.toml)"
        copy = read_copy(settings.checkpoint_copy, ledger.log)
        if copy is None:
            raise missing_copy(settings.checkpoint_copy)
        require_continuation(copy[0], size=size, nodes=nodes, place=str(settings.checkpoint_copy))
        return f"{kept}; its copy agrees"


def _work(settings: Settings) -> str:
    _require_server(settings)
    from everproof.storage import Storage
    from everproof.work.store import count_jobs

    storage = Storage.open_read_only(settings.database_url)
    try:
        with storage.reading() as connection:
            stuck, waiting = count_jobs(connection, "stuck"), count_jobs(connection, "waiting")
    finally:
        storage.close()
    if stuck:
        todo = "look at them: everproof work list --state stuck; then retry or cancel each"
        raise ConflictError(f"{stuck} {'job is' if stuck == 1 else 'jobs are'} stuck", todo=todo)
    return f"{waiting} jobs wait for their time, none is stuck"


def _clock(settings: Settings) -> str:
    _require_server(settings)
    from everproof.storage import Storage

    storage = Storage.open_read_only(settings.database_url)
    try:
        highest = storage.clock.highest
        storage.clock.issuing_time()
    finally:
        storage.close()
    ago = max(timedelta(), datetime.now(UTC) - highest)
    return f"not behind the highest time on record, {lasting(ago)} ago"


def _certificate(settings: Settings) -> str:
    _require_server(settings)
    from cryptography import x509

    file = settings.state / "server.pem"
    if not file.exists():
        raise Skipped("the server makes its certificate when it is started")
    try:
        leaf = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise InputError("not a certificate", place=str(file), todo="remove it and restart the server") from error
    left = leaf.not_valid_after_utc - datetime.now(UTC)
    if left < CERTIFICATE_LEFT:
        ends = f"ends on {leaf.not_valid_after_utc:%Y-%m-%d}, and was not renewed"
        raise UnavailableError(ends, place=str(file), todo="restart the server and read its log")
    return f"good for {lasting(left)}"


def _socket(settings: Settings) -> str:
    _require_server(settings)
    with _by_socket(settings) as client:
        return _ready(client, str(settings.socket))


def _https(settings: Settings) -> str:
    _require_server(settings)
    import ssl

    import httpx

    address = _address(settings)
    ca = settings.state / "ca.pem"
    context = ssl.create_default_context(cafile=str(ca) if ca.exists() else None)
    with httpx.Client(base_url=address, verify=context, trust_env=False, timeout=ANSWER_SECONDS) as client:
        return _ready(client, address)


def _by_socket(settings: Settings) -> "httpx.Client":
    import httpx

    transport = httpx.HTTPTransport(uds=str(settings.socket))
    return httpx.Client(transport=transport, base_url="http://localhost", timeout=ANSWER_SECONDS)


def _address(settings: Settings) -> str:
    """How the server that runs names itself: the options of `everproof up` go before the settings."""
    import httpx

    try:
        with _by_socket(settings) as client:
            told = client.get("/.well-known/authzen-configuration").json()
            return str(told["policy_decision_point"])
    except (httpx.TransportError, ValueError, KeyError):
        return settings.issuer


def _ready(client: "httpx.Client", place: str) -> str:
    import httpx

    try:
        answer = client.get("/readyz")
    except httpx.TransportError as error:
        todo = "start the server: everproof up"
        raise UnavailableError(f"does not answer: {error}", place=place, todo=todo) from error
    try:
        told = answer.json()
    except ValueError:
        told = {}
    if not answer.is_success or not told.get("ready", False):
        reasons = "; ".join(f"{part}: {why}" for part, why in told.get("reasons", {}).items())
        raise UnavailableError(reasons or f"answered {answer.status_code}", place=place, todo="read the server's log")
    return f"ready at {place}"


def _git(_settings: Settings) -> str:
    return _version(bundles.git_version(), GIT, "git", "older ones sign no commits with SSH keys")


def _openssh(_settings: Settings) -> str:
    ssh.run(["ssh-keygen", "-?"])  # only whether it is there
    done = ssh.run(["ssh", "-V"])
    return _version(done.stderr, OPENSSH, "OpenSSH", "older ones neither sign nor know security keys")


def _version(said: str, needed: tuple[int, int], name: str, why: str) -> str:
    match = re.search(r"(\d+)\.(\d+)", said)
    if match is None:
        raise InputError(f"does not say its version: {said.strip()[:80]!r}", place=name)
    if (int(match[1]), int(match[2])) < needed:
        wanted = f"{needed[0]}.{needed[1]}"
        raise InputError(f"is {match[0]}: {why}", place=name, todo=f"install {name} {wanted} or later")
    return f"{name} {match[0]}"


def _bundle(settings: Settings) -> str:
    if settings.bundle is None:
        raise Skipped(
            "no repository is named in server.toml ([bundle] repository): the built-in bundle rules, or the last one"
        )
    files = bundles.files_of(settings.bundle.ref, settings.bundle.repository)
    bundle = bundles.check(files)
    return f"{len(bundle.policies)} policies at {settings.bundle.ref} of {settings.bundle.repository}"


def _session(_settings: Settings) -> str:
    try:
        held = session.load()
    except Error as error:
        if isinstance(error, InputError):
            raise
        raise Skipped(f"{error}") from error
    left = datetime.fromtimestamp(held.expires, UTC) - datetime.now(UTC)
    if left <= timedelta():
        raise Skipped(f"{held.principal} was logged in to {held.server}; the session is over")
    return f"{held.principal} at {held.server}, for {lasting(left)}"


LOOKS: Final[dict[str, Callable[[Settings], str]]] = {
    "state": _state,
    "database": _database,
    "keys": _keys,
    "ledger": _ledger,
    "work": _work,
    "clock": _clock,
    "certificate": _certificate,
    "socket": _socket,
    "https": _https,
    "git": _git,
    "openssh": _openssh,
    "bundle": _bundle,
    "session": _session,
}
"""What is looked at, in the order in which one thing needs another."""
