"""Who asks: proofs, trust bindings, principals, tokens and their lineage."""

from everproof.identity import roster, sshsig
from everproof.identity.challenges import ENROL_NAMESPACE, LOGIN_NAMESPACE, enrolment_message, login_message
from everproof.identity.credentials import Credentials
from everproof.identity.directory import Directory
from everproof.identity.enrolment import EnrolmentRequest, invite, invite_first_administrator, link
from everproof.identity.lineage import Lineage, draw, lineage
from everproof.identity.machines import JoinRequest, join_token
from everproof.identity.people import People, apply_people, people_of, read_people
from everproof.identity.proofs import Proofs
from everproof.identity.records import ADMINISTRATORS, Credential, Group, KeyRecord, PrincipalRecord, SshKey
from everproof.identity.room import Identity
from everproof.identity.ssh_keys import ssh_fingerprint_of_jwk

__all__ = [
    "ADMINISTRATORS",
    "ENROL_NAMESPACE",
    "LOGIN_NAMESPACE",
    "Credential",
    "Credentials",
    "Directory",
    "EnrolmentRequest",
    "Group",
    "Identity",
    "JoinRequest",
    "KeyRecord",
    "Lineage",
    "People",
    "PrincipalRecord",
    "Proofs",
    "SshKey",
    "apply_people",
    "draw",
    "enrolment_message",
    "invite",
    "invite_first_administrator",
    "join_token",
    "lineage",
    "link",
    "login_message",
    "people_of",
    "read_people",
    "roster",
    "ssh_fingerprint_of_jwk",
    "sshsig",
]
