"""What a change of the bundle changes: policies by what they mean, and decisions over the tests of both bundles."""

from typing import Any, Literal, TypeAlias

import msgspec

from everproof.kernel.words import Ref
from everproof.policy.bundle import Bundle, Policy
from everproof.policy.engine import Engine
from everproof.policy.trials import Trial

What: TypeAlias = Literal["added", "removed", "changed", "reworded"]
"""``reworded``: only title or advice differ, so that it decides as before."""


class PolicyChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One policy that is not as it was. Comments and blanks are no change."""

    id: str
    what: What
    before: str = ""
    after: str = ""
    place: str = ""


class DecisionChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request of the tests that is decided otherwise, or by others."""

    test: str
    place: str
    principal: Ref
    action: str
    resource: Ref
    before: bool
    after: bool
    reasons_before: tuple[str, ...] = ()
    reasons_after: tuple[str, ...] = ()


class BundleDiff(msgspec.Struct, frozen=True, kw_only=True):
    """All that a change of bundles changes, as far as tests show it. ``files`` are those beside policies."""

    policies: tuple[PolicyChange, ...]
    decisions: tuple[DecisionChange, ...]
    schema_changed: bool
    files: tuple[str, ...]
    requests: int
    """Requests that were decided by both."""

    def text(self) -> str:
        """The difference for a terminal."""
        marks = {"added": "+", "removed": "-", "changed": "~", "reworded": "·"}
        lines = [f"{marks[change.what]} {change.id} {change.what} ({change.place})" for change in self.policies]
        if self.schema_changed:
            lines.append("~ the schema changed")
        lines += [f"~ {path} changed" for path in self.files]
        for change in self.decisions:
            before, after = _word(change.before, change.reasons_before), _word(change.after, change.reasons_after)
            lines.append(f"! {change.principal} {change.action} {change.resource}: {before} → {after}")
            lines.append(f"    {change.test} ({change.place})")
        few = "request" if self.requests == 1 else "requests"
        return "\n".join([*lines, f"{len(self.decisions)} of {self.requests} {few} of the tests are decided otherwise"])


def _word(allowed: bool, reasons: tuple[str, ...]) -> str:
    return f"{'allowed' if allowed else 'denied'} by {', '.join(reasons) or 'nothing'}"


def diff(before: Bundle, after: Bundle) -> BundleDiff:
    """What changes when ``after`` takes the place of ``before``."""
    old, new = Engine(before), Engine(after)
    requests = _requests(before, after)
    return BundleDiff(
        policies=tuple(_policies(before, after)),
        decisions=tuple(change for trial in requests if (change := _decision(trial, old, new)) is not None),
        schema_changed=before.schema.version != after.schema.version,
        files=tuple(_other_files(before, after)),
        requests=len(requests),
    )


def _policies(before: Bundle, after: Bundle) -> list[PolicyChange]:
    old = {policy.id: policy for policy in (*before.templates, *before.policies)}
    new = {policy.id: policy for policy in (*after.templates, *after.policies)}
    found = []
    for id_ in sorted(old.keys() | new.keys()):
        was, now = old.get(id_), new.get(id_)
        if was is None or now is None:
            here = now or was
            assert here is not None
            text = {"after" if was is None else "before": here.text}
            found.append(PolicyChange(id=id_, what="added" if was is None else "removed", place=here.place, **text))
        elif (what := _change(was, now)) is not None:
            found.append(PolicyChange(id=id_, what=what, before=was.text, after=now.text, place=now.place))
    return found


def _change(was: Policy, now: Policy) -> What | None:
    if _meaning(was) != _meaning(now):
        return "changed"
    return "reworded" if (was.title, was.advice) != (now.title, now.advice) else None


def _meaning(policy: Policy) -> tuple[dict[str, Any], bool]:
    return {name: part for name, part in policy.est.items() if name != "annotations"}, policy.shadow


def _requests(before: Bundle, after: Bundle) -> list[Trial]:
    """The tests of both, each request once; of one that is in both, the new test."""
    found: list[Trial] = []
    for trial in (*after.trials, *before.trials):
        if all(trial.request != other.request for other in found):
            found.append(trial)
    return found


def _decision(trial: Trial, old: Engine, new: Engine) -> DecisionChange | None:
    was, now = old.decide(trial.request).decision, new.decide(trial.request).decision
    if (was.allowed, was.reasons, was.errors) == (now.allowed, now.reasons, now.errors):
        return None
    return DecisionChange(
        test=trial.name,
        place=trial.place,
        principal=trial.request.principal.ref,
        action=trial.request.action.name,
        resource=trial.request.resource.ref,
        before=was.allowed,
        after=now.allowed,
        reasons_before=was.reasons or was.errors,
        reasons_after=now.reasons or now.errors,
    )


def _other_files(before: Bundle, after: Bundle) -> list[str]:
    paths = before.files.keys() | after.files.keys()
    beside = (path for path in sorted(paths) if not path.startswith(("policies/", "schema/")))
    return [path for path in beside if before.files.get(path) != after.files.get(path)]
