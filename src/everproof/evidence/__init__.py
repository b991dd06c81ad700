"""What commits, tags and pushes prove about themselves."""

from everproof.evidence.certificate import (
    Certificate,
    RefUpdate,
    names_repository,
    nonce_age,
    parse_certificate,
    parse_update,
    ref_name,
)
from everproof.evidence.facts import Examination, Judged, RawObject, RefEvidence
from everproof.evidence.objects import Commit, ObjectError, ObjectType, Tag, parse_commit, parse_tag
from everproof.evidence.signatures import Directory, Verdict, standing_of, verify
from everproof.evidence.store import first_received, record_receipt, use_certificate

__all__ = [
    "Certificate",
    "Commit",
    "Directory",
    "Examination",
    "Judged",
    "ObjectError",
    "ObjectType",
    "RawObject",
    "RefEvidence",
    "RefUpdate",
    "Tag",
    "Verdict",
    "first_received",
    "names_repository",
    "nonce_age",
    "parse_certificate",
    "parse_commit",
    "parse_tag",
    "parse_update",
    "record_receipt",
    "ref_name",
    "standing_of",
    "use_certificate",
    "verify",
]
