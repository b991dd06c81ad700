"""What a ref update brings, as facts that policy judges. Nothing here allows or refuses anything.

They count commits by the worth of their signatures, and say what happens to the ref.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import msgspec

from everproof.evidence.certificate import RefUpdate
from everproof.evidence.objects import ObjectError, ObjectType, Person, Signature, Tag, parse_commit, parse_tag
from everproof.evidence.signatures import Directory, Standing, Verdict, standing_of, verify
from everproof.kernel.words import Fact, Principal, Ref

SOURCE: Final = "git"
MAX_TAG_DEPTH: Final = 8
"""Tags of tags; git itself makes none unless told to."""

_COUNTED: Final[dict[Standing, str]] = {
    "unsigned": "commits_unsigned",
    "unsupported": "commits_unsupported_signature",
    "malformed": "commits_malformed",
    "bad": "commits_bad_signature",
    "unknown": "commits_unknown_signer",
    "expired": "commits_expired_key",
    "not_yet_valid": "commits_not_yet_valid_key",
    "revoked": "commits_revoked_key",
}


class RawObject(msgspec.Struct, frozen=True):
    """An object that git has in quarantine, as it was sent; trees and blobs without their bytes."""

    oid: str
    type: ObjectType
    raw: bytes = b""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One commit or tag, with what its signature is worth and whether its signer is who it says made it."""

    oid: str
    kind: ObjectType
    verdict: Verdict
    author: Person | None = None
    committer: Person | None = None
    subject: str = ""
    author_is_signer: bool = True
    committer_is_signer: bool = True

    @property
    def good(self) -> bool:
        """A signature that holds, by the one whom the commit names."""
        return self.verdict.standing == "good" and self.author_is_signer and self.committer_is_signer


class RefEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one ref update."""

    update: RefUpdate
    fast_forward: bool
    known: bool
    object_type: ObjectType | None
    commits: tuple[Judged, ...]
    tag: Judged | None

    def facts(self, at: datetime, *, pusher: Ref, certificate: bool) -> tuple[Fact, ...]:
        """The facts of the update, pushed by ``pusher``, with or without a push certificate."""
        values: dict[str, bool | int | str] = dict.fromkeys(_COUNTED.values(), 0)
        for commit in self.commits:
            if (name := _COUNTED.get(commit.verdict.standing)) is not None:
                values[name] += 1  # type: ignore[operator]
        signers = [commit.verdict.signer for commit in self.commits]
        update = self.update
        values |= {
            "commits": len(self.commits),
            "commits_signer_not_author": sum(not commit.author_is_signer for commit in self.commits),
            "commits_signer_not_committer": sum(not commit.committer_is_signer for commit in self.commits),
            "commits_signer_not_pusher": sum(signer is not None and signer.ref != pusher for signer in signers),
            "creates": update.creates,
            "deletes": update.deletes,
            "rewrites_history": not (update.creates or update.deletes or self.fast_forward),
            "known_commit": self.known,
            "push_certificate": certificate,
            "tag": self.tag is not None,
            "tag_signed": self.tag is not None and self.tag.good,
        }
        if self.object_type is not None:
            values["object_type"] = self.object_type
        return tuple(Fact(name, value, at, SOURCE) for name, value in values.items())


class Examination:
    """Judges the objects of one push, each once, as of the time they were received.

    ``at`` is now, and ``received`` says of commits that came in earlier when they first did.
    """

    def __init__(
        self,
        objects: Iterable[RawObject],
        directory: Directory,
        at: datetime,
        *,
        received: Mapping[str, datetime] = MappingProxyType({}),
    ) -> None:
        self._objects: Mapping[str, RawObject] = {found.oid: found for found in objects}
        self._directory = directory
        self._at = at
        self._received = received
        self._judged: dict[str, Judged] = {}

    def update(self, update: RefUpdate, commits: Iterable[str], *, fast_forward: bool, known: bool) -> RefEvidence:
        """The evidence of one ref update, to which ``commits`` are new.

        Raises:
            ObjectError: the push does not hold together: an object is missing, or is not of its name.
        """
        tag, object_type = None, None
        names = tuple(commits)
        if not update.deletes:
            object_type, target = self._target(update.new)
            tag = self._judge(update.new) if object_type == "tag" else None
            # Whoever leaves the tip out of the list would have the rest judged without it.
            if object_type == "commit" and not known and target not in names:
                raise ObjectError("the new tip is missing among the new commits", place=update.ref)
        judged = tuple(self._judge(name) for name in names)
        if any(commit.kind != "commit" for commit in judged):
            raise ObjectError("what is listed as a commit is none", place=update.ref)
        return RefEvidence(
            update=update, fast_forward=fast_forward, known=known, object_type=object_type, commits=judged, tag=tag
        )

    def _target(self, name: str) -> tuple[ObjectType, str]:
        """The type of the tip, and the object that it leads to through all tags."""
        first = kind = self._object(name).type
        depth = 0
        while kind == "tag":
            try:
                name = parse_tag(name, self._object(name).raw).target
            except ObjectError:
                break
            kind = self._object(name).type
            depth += 1
            if depth > MAX_TAG_DEPTH:
                raise ObjectError(f"a tag of tags, more than {MAX_TAG_DEPTH} deep", place=name[:12])
        return first, name

    def _object(self, name: str) -> RawObject:
        found = self._objects.get(name)
        if found is None:
            raise ObjectError("the object was not sent", place=name[:12])
        return found

    def _judge(self, name: str) -> Judged:
        judged = self._judged.get(name)
        if judged is None:
            judged = self._judged[name] = self._judge_anew(self._object(name))
        return judged

    def _judge_anew(self, found: RawObject) -> Judged:
        if found.type not in ("commit", "tag"):
            return Judged(oid=found.oid, kind=found.type, verdict=Verdict("unsigned", f"is a {found.type}"))
        try:
            parsed = (parse_commit if found.type == "commit" else parse_tag)(found.oid, found.raw)
        except ObjectError as error:
            return Judged(
                oid=found.oid, kind=found.type, verdict=Verdict("malformed", f"cannot be trusted: {error.message}")
            )
        verdict = self._verify(found.oid, parsed.signature)
        if isinstance(parsed, Tag):
            author = committer = parsed.tagger
        else:
            author, committer = parsed.author, parsed.committer
        return Judged(
            oid=found.oid,
            kind=found.type,
            verdict=verdict,
            author=author,
            committer=committer,
            subject=parsed.subject,
            author_is_signer=_is(verdict.signer, author),
            committer_is_signer=_is(verdict.signer, committer),
        )

    def _verify(self, oid: str, signature: Signature | None) -> Verdict:
        now = verify(signature, self._directory, self._at)
        earlier = self._received.get(oid)
        if earlier is None or now.fingerprint is None or now.standing not in ("expired", "revoked"):
            return now
        # The key died after this commit came in: its signature was there while the key was alive. A compromised key
        # has no such time, for its holder may have been another all along.
        then = standing_of(now.fingerprint, self._directory, earlier)
        return then if then.standing == "good" else now


def _is(signer: Principal | None, person: Person | None) -> bool:
    """Whether a commit's e-mail address is one of its signer's; where no signer is known, nothing differs."""
    if signer is None:
        return True
    if person is None:
        return False
    return person.email.lower() in {email.lower() for email in emails(signer)}


def emails(principal: Principal) -> tuple[str, ...]:
    """The addresses that the directory has for someone; none for a machine."""
    found = principal.attributes.get("emails") or [principal.attributes.get("email")]
    return tuple(email for email in found if isinstance(email, str) and email)
