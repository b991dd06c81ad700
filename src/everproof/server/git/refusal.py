"""What a pusher reads: which ref, which commit, which condition, and what to do.

git's client colours lines that begin with error: and hint:, and puts "remote: " before each.
"""

from collections.abc import Iterable
from typing import Final

from everproof.authorize import Denied
from everproof.evidence import Judged, RefEvidence
from everproof.kernel.errors import Error
from everproof.server.denial import words

MAX_COMMITS: Final = 5
"""Commits shown for each ref; the rest are counted."""

_SET_UP: Final = (
    "sign it: git config gpg.format ssh; git config user.signingkey KEY.pub; git commit --amend --no-edit -S"
)
_ADVICE: Final = {
    "unsigned": _SET_UP,
    "unsupported": _SET_UP,
    "unknown": "enrol the key (everproof login), or sign with the one you enrolled: git commit --amend --no-edit -S",
    "expired": "sign it with your current key: git commit --amend --no-edit -S",
    "revoked": "sign it with your current key: git commit --amend --no-edit -S",
    "not_yet_valid": "wait until the key is valid, or sign with another one of yours",
    "bad": "it was changed after it was signed: sign it anew with git commit --amend --no-edit -S",
    "malformed": "make it anew with git itself: git commit --amend --no-edit -S",
}
_AUTHOR: Final = "commit as yourself: git commit --amend --no-edit --reset-author -S"
_SEVERAL: Final = "for several commits: git rebase --exec 'git commit --amend --no-edit -S' BASE"


def refused(denials: Iterable[tuple[RefEvidence, Denied]], *, observed: bool = False) -> tuple[str, ...]:
    """The lines for a push of which some refs were denied; ``observed`` where it is let pass nevertheless."""
    lines = _head("push", observed=observed)
    word = "warning" if observed else "error"
    advice: dict[str, None] = {}
    for evidence, denied in denials:
        lines.append(f"{word}: {evidence.update.ref}: {denied.proof.principal.ref.id} may not push this")
        # Where nothing permits, a better commit would not be permitted either: no advice on commits then.
        lines += _commits(evidence, advice if denied.decision.reasons else {})
        lines += [*_why(denied), ""]
    return (*lines, *(f"hint: {line}" for line in advice), *([""] if advice else []))


def fetch_refused(denied: Denied) -> tuple[str, ...]:
    """The lines for a repository that may not be read."""
    word = "warning" if denied.lets_pass else "error"
    who, what = denied.proof.principal.ref.id, denied.resource.ref.id
    asked = f"{word}: {who} may not read {what}"
    return (*_head("fetch", observed=denied.lets_pass), asked, *_why(denied), "")


def unproved(error: Error, *, observed: bool = False) -> tuple[str, ...]:
    """The lines for what came to no decision."""
    word = "warning" if observed else "error"
    hint = [f"hint: {error.todo}"] if error.todo else []
    return (*_head("request", observed=observed), f"{word}: {error}", *hint, "")


def _head(what: str, *, observed: bool) -> list[str]:
    if observed:
        return ["", f"everproof would refuse this {what}; for now it only observes.", ""]
    return ["", f"everproof refused this {what}; nothing was changed.", ""]


def _why(denied: Denied) -> list[str]:
    return [
        *(f"  {line}" for line in words(denied).splitlines() if line),
        f"  recorded as entry {denied.receipt.index} ({denied.receipt.entry_id})",
    ]


def _commits(evidence: RefEvidence, advice: dict[str, None]) -> list[str]:
    lines = []
    doubtful = [judged for judged in (*evidence.commits, evidence.tag) if judged is not None and not judged.good]
    for judged in doubtful[:MAX_COMMITS]:
        lines += _commit(judged, advice)
    if len(doubtful) > MAX_COMMITS:
        lines.append(f"  and {len(doubtful) - MAX_COMMITS} more like these")
    if len(doubtful) > 1:
        advice[_SEVERAL] = None
    return lines


def _commit(judged: Judged, advice: dict[str, None]) -> list[str]:
    lines = [f'  {judged.kind} {judged.oid[:12]} "{judged.subject}"']
    if judged.verdict.standing != "good":
        advice[_ADVICE[judged.verdict.standing]] = None
        return [*lines, f"    {judged.verdict.why}"]
    advice[_AUTHOR] = None
    author, committer = judged.author, judged.committer
    if author is not None and not judged.author_is_signer:
        lines.append(f"    {judged.verdict.why}, but its author is {author.email}")
    if committer is not None and not judged.committer_is_signer and committer != author:
        lines.append(f"    {judged.verdict.why}, but its committer is {committer.email}")
    return lines
