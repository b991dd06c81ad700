"""Who asks: proofs, trust bindings, principals, tokens and their lineage."""

from everproof.identity import sshsig
from everproof.identity.credentials import Credentials
from everproof.identity.directory import Directory
from everproof.identity.proofs import Proofs
from everproof.identity.records import Credential, Group, KeyRecord, PrincipalRecord, SshKey
from everproof.identity.room import Identity
from everproof.identity.ssh_keys import ssh_fingerprint_of_jwk

__all__ = [
    "Credential",
    "Credentials",
    "Directory",
    "Group",
    "Identity",
    "KeyRecord",
    "PrincipalRecord",
    "Proofs",
    "SshKey",
    "ssh_fingerprint_of_jwk",
    "sshsig",
]
