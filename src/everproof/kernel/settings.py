"""What the server is told at its start: one file, ``server.toml`` in the state folder, then the environment."""

import os
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from everproof.kernel.errors import InputError
from everproof.kernel.toml import read_toml

DEFAULT_STATE: Final = Path("~/.local/state/everproof")
FILE_NAME: Final = "server.toml"


class BundleSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where policy comes from: a git repository on this machine and the one ref that counts.

    A bundle that is to rule is first replayed over the last ``replay_days``, for at most ``replay_seconds``.
    """

    repository: Path
    ref: str = "refs/heads/main"
    at_most: int | str = 0
    """How much of what was allowed a new bundle may deny, unless told: decisions, or a share such as ``"0.5%"``."""
    replay_days: Annotated[int, msgspec.Meta(ge=0, le=3660)] = 7
    """0: nothing is replayed."""
    replay_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 60


class GitDoor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bare repositories that `everproof git serve` and `git guard` stand before, and the account they run as."""

    root: Path
    user: str = "git"


class Outbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the server may reach: extra trusted CAs (PEM), and private addresses that an issuer may have."""

    ca_file: Path | None = None
    private_hosts: tuple[str, ...] = ()


class Witnessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Being a witness: the name to cosign under (a URL without its scheme), and the public keys of the logs (vkeys)."""

    name: str
    logs: tuple[str, ...]


class RepositoryHost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A platform that makes tokens of its repositories: one installation of a GitHub App, or one GitLab.

    ``secret`` is where the App's private key (PEM), or GitLab's token, is read from at each use: ``file:PATH``, closed
    to other accounts, or ``env:NAME``.
    """

    platform: Literal["github", "gitlab"]
    secret: str
    api: str = ""
    """Empty: https://api.github.com, or https://gitlab.com."""
    issuer: str = ""
    """The issuer of its jobs' tokens; empty: that of github.com's Actions, or ``api``."""
    app: str = ""
    """The App's client id."""
    installation: Annotated[int, msgspec.Meta(ge=1)] = 1


class OrganisationHost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organisation at GitHub, or a group at GitLab, whose members are what our groups say (memberships.toml).

    ``secret`` is where an owner's token, or with ``app`` the private key (PEM) of a GitHub App, is read from at each
    use: ``file:PATH``, closed to other accounts, or ``env:NAME``.
    """

    platform: Literal["github", "gitlab"]
    secret: str
    api: str = ""
    """Empty: https://api.github.com, or https://gitlab.com."""
    login: str = ""
    """The organisation's name at GitHub now; memberships.toml has its number."""
    app: str = ""
    """The App's client id."""
    installation: Annotated[int, msgspec.Meta(ge=1)] = 1


class WebhookChannel(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="by", tag="webhook"
):
    """Notices to a service of yours, signed (Standard Webhooks). ``secret`` is where its key is read from."""

    url: str
    secret: str
    """``file:PATH`` or ``env:NAME``: ``whsec_`` and 24 to 64 bytes in base64; two lines while it changes."""
    people: bool = False
    """Whether it hears what is for one person."""
    groups: tuple[str, ...] = ()
    """The groups whose notices it hears; ``*``: every group's."""


class SmtpChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="by", tag="smtp"):
    """Notices by e-mail, to the addresses that people have in the directory."""

    host: str
    sender: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 465
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    """``none`` only on this machine."""
    user: str = ""
    secret: str = ""
    """Where the user's password is read from: ``file:PATH`` or ``env:NAME``."""
    people: bool = True
    groups: tuple[str, ...] = ()
    """The groups whose notices go to ``to`` rather than to their members."""
    to: tuple[str, ...] = ()


class SlackChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="by", tag="slack"):
    """Notices in Slack, by an incoming webhook or a bot (``chat:write``, and ``users:read.email`` to reach people)."""

    webhook: str = ""
    """Where the webhook's address is read from, which is a secret: ``file:PATH`` or ``env:NAME``."""
    token: str = ""
    """Where the bot's token is read from."""
    channel: str = ""
    """Where the bot says what is not for one person: a conversation's id."""
    people: bool = False
    groups: tuple[str, ...] = ()
    api: str = ""
    """Empty: https://slack.com/api."""


class SignOnClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The secret of this server's client at a provider: where it lies (``file:PATH``, ``env:NAME``), and whose it is.

    It is sent to that issuer's token endpoint and to no other's, whatever a sign-on file says.
    """

    issuer: str
    secret: str


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server's certificate, where an operator gives one (PEM: chain and key), and who may stand before it."""

    certificate: Path | None = None
    key: Path | None = None
    """Empty: the key lies in the certificate's file."""
    proxies: tuple[str, ...] = ()
    """Services that end TLS for clients and say with which certificate they came, such as ``service:edge``."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server's settings. Every field has a working default: `everproof up` alone is enough."""

    state: Path = DEFAULT_STATE
    database: str = ""
    """An SQLAlchemy address; empty: SQLite in the state folder."""
    host: str = "127.0.0.1"
    port: int = 8443
    url: str = ""
    """How callers name this server, and the issuer of its tokens; empty: https://localhost:PORT."""
    max_stale_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=60)] = 2.0
    """On PostgreSQL, where several servers may share a database: what one may not know of the others' deeds before it
    lets nothing happen any more."""
    root_key: str = ""
    """``file:PATH`` or ``env:NAME``; empty: a file in the state folder, mode 0600."""
    checkpoint_copy: Path | None = None
    """A file outside the database that keeps the last checkpoint, so that a rollback of the storage is found."""
    witness_policy: Path | None = None
    """A C2SP tlog-policy: the witnesses that are asked to cosign our checkpoints, and how many of them must."""
    witness: Witnessing | None = None
    bundle: BundleSource | None = None
    git: GitDoor | None = None
    outbound: Outbound = Outbound()
    repositories: dict[Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")], RepositoryHost] = {}
    """Platforms whose repositories jobs get tokens for, by the names that policy and callers use."""
    organisations: dict[Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")], OrganisationHost] = {}
    """Organisations whose members are kept as memberships.toml says, by the names that it uses."""
    notify: dict[
        Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")], WebhookChannel | SmtpChannel | SlackChannel
    ] = {}
    """Channels by which people are told, by their names. Only who runs the server says where notices go."""
    sign_on: dict[Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")], SignOnClient] = {}
    """The secrets of this server's clients, by the names of the bundle's sign-on files."""
    tls: Tls = Tls()
    telemetry: str = ""
    """An OTLP/HTTP endpoint; empty: no traces leave."""

    @property
    def issuer(self) -> str:
        """The server's own address, as it stands in tokens."""
        return self.url or f"https://localhost:{self.port}"

    @property
    def database_url(self) -> str:
        """The SQLAlchemy address of the database."""
        return self.database or f"sqlite:///{self.state / 'everproof.db'}"

    @property
    def socket(self) -> Path:
        """The unix socket by which commands and hooks reach the server."""
        return self.state / "everproof.sock"


def load_settings(state: Path | None = None) -> Settings:
    """The settings for ``state``, else ``EVERPROOF_STATE``, else the default folder.

    ``EVERPROOF_DATABASE``, ``EVERPROOF_URL``, ``EVERPROOF_HOST`` and ``EVERPROOF_PORT`` override the file.

    Raises:
        InputError: the file or a variable cannot be read; with its place.
    """
    folder = (state or Path(os.environ.get("EVERPROOF_STATE") or DEFAULT_STATE)).expanduser().absolute()
    file = folder / FILE_NAME
    settings = read_toml(file, Settings) if file.exists() else Settings()
    changes: dict[str, str | int | Path] = {"state": folder}
    for field in ("database", "url", "host"):
        if value := os.environ.get(f"EVERPROOF_{field.upper()}"):
            changes[field] = value
    if port := os.environ.get("EVERPROOF_PORT"):
        if not port.isdigit():
            raise InputError(f"EVERPROOF_PORT must be a number, not {port!r}", place="environment")
        changes["port"] = int(port)
    return msgspec.structs.replace(settings, **changes)
