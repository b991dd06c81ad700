"""What is on record: principals, groups, keys, credentials, and tickets that are good once."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from everproof.kernel.words import NOTHING, Attributes, Principal, Ref

MAIN: Final = "main"
"""The space that everything belongs to unless it is told otherwise."""

ADMINISTRATORS: Final = "administrators"
"""The group of those who may change what the others may."""

FOREVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""When a key ends that was given no end. It is revoked long before."""

Reason: TypeAlias = Literal["compromised", "superseded", "other"]
"""Why a key was revoked. Of a compromised one nothing is believed, whenever it was signed."""

LEFT_FILE: Final = "left people.toml"
INACTIVE: Final = "inactive where they are kept"
BY_SOURCE: Final = frozenset({LEFT_FILE, INACTIVE})
"""Why somebody is disabled whom the source of their record brings back by itself. Any other reason outlasts it."""

GATEWAY: Final = "everproof-gateway"
"""What the key of a gateway's secret is called (``kid``): see `everproof.identity.gateways`."""

PROVISIONER: Final = "everproof-provisioner"
"""What the key of a provisioner's secret is called: see `everproof.identity.provisioners`."""

BEARERS: Final = frozenset({GATEWAY, PROVISIONER})
"""What keys are called that are made from a secret which is sent about: they sign nothing."""

KEY_KINDS: Final = ("ssh-key", "client-key", "passkey")
"""The kinds of credentials that are enrolled keys: the roots that logins and assertions descend from."""


class PrincipalRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person, service or machine on record. ``emails`` are the addresses it may commit as."""

    ref: Ref
    name: str = ""
    emails: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    space: str = MAIN
    attributes: Mapping[str, Any] = {}
    enrolled: datetime
    disabled: datetime | None = None
    disabled_reason: str = ""
    source: str = ""
    """Where the record is kept, such as ``people.toml`` or ``scim:okta``; empty: here."""
    external_id: str = ""
    """What ``source`` calls it, and calls nobody else."""


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group, and the groups that it is in."""

    id: str
    name: str = ""
    groups: tuple[str, ...] = ()


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key on record. ``public`` is the line of an SSH key, or the JWK of a client's.

    It is good from ``valid_from`` until before ``valid_until``, by our own clock. ``credential`` stands for it in the
    lineage of all that it proves.
    """

    name: str
    twin: str | None = None
    kind: Literal["ssh", "jwk"]
    principal: Ref
    public: str
    credential: str
    valid_from: datetime
    valid_until: datetime | None = None
    revoked_at: datetime | None = None
    revoked_reason: Reason | None = None

    @property
    def is_gateway(self) -> bool:
        """Whether it is made from a gateway's secret, and so proves a gateway and signs nothing."""
        return self.kind == "jwk" and f'"kid":"{GATEWAY}"' in self.public

    @property
    def is_provisioner(self) -> bool:
        """Whether it is made from a provisioner's secret, and so proves a provisioner and signs nothing."""
        return self.kind == "jwk" and f'"kid":"{PROVISIONER}"' in self.public

    def is_good(self, at: datetime) -> bool:
        """Whether it may be used at ``at``."""
        if self.revoked_at is not None and (self.revoked_reason == "compromised" or at >= self.revoked_at):
            return False
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)


class SshKey(msgspec.Struct, frozen=True, kw_only=True):
    """An SSH key on record, dead or alive: a signature is judged by when it reached us."""

    principal: Ref
    public: str
    valid_from: datetime
    valid_until: datetime | None = None
    revoked_at: datetime | None = None
    revoked_reason: Reason | None = None
    credential: str | None = None


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was issued or accepted, and what it came from.

    ``key`` is the thumbprint or fingerprint that it is bound to. ``audience`` None and ``scope`` empty mean unbounded.
    ``source`` sums up the proof that a root came from; ``proven`` is the principal of a root that is not on record.
    """

    id: str
    parent: str | None
    kind: str
    principal: Ref
    key: str | None
    issued: datetime
    expires: datetime
    audience: str | None = None
    scope: tuple[str, ...] = ()
    source: Attributes = NOTHING
    proven: Principal | None = None
    revoked_at: datetime | None = None
    revoked_reason: str | None = None


Purpose: TypeAlias = Literal["first", "enrol", "join"]
"""What a ticket is for: making the first administrator, a further person, or a machine."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the holder of a secret that is good once may become: ``name`` if it is given, in these groups.

    ``emails`` are the addresses that a person may commit as: who comes in does not choose whom to speak for.
    ``factor`` is what it must be enrolled with.
    """

    id: str
    purpose: Purpose
    name: str = ""
    emails: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    space: str = MAIN
    factor: Literal["ssh-key", "jwk"] = "ssh-key"
    expires: datetime
    by: Ref | None = None
