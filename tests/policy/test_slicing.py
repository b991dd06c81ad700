"""A slice decides as the whole does: the same answer, by the same policies, with the same errors."""

import random
import re
from typing import Any

import cedarpy
import pytest
from cedarpy import _internal

from everproof.kernel.canonical import encode
from everproof.policy import Bundle, Engine, Request, load_bundle
from everproof.policy.balance import policy_set
from everproof.policy.request import bodies, closure
from everproof.policy.schema import schema_of
from everproof.policy.slices import MAX_SLICES
from tests.policy import random_policies as generate
from tests.policy.build import asks, bundle, what, who

SCHEMA = schema_of({"schema/books.cedarschema": generate.SCHEMA.encode()})
BUNDLES = 24
REQUESTS = 420


def random_bundle(rng: random.Random) -> Bundle:
    policies = [generate.policy(rng, f"p{at}", SCHEMA.handle) for at in range(30)]
    files = {
        "schema/books.cedarschema": generate.SCHEMA,
        "policies/some.cedar": "\n".join(policies + generate.TEMPLATES),
        "policies/some.links.toml": generate.links(rng),
    }
    return load_bundle({path: text.encode() for path, text in files.items()})


class Whole:
    """The engine as it is used without any of ours: every policy, the whole schema, everything that was given."""

    def __init__(self, bundle: Bundle) -> None:
        self.handle = policy_set((policy.id, policy.est) for policy in bundle.policies)
        self.schema = bundle.schema.handle

    def decide(self, request: Request) -> tuple[bool, tuple[str, ...], set[str]]:
        asked = {
            "principal": {"type": request.principal.ref.type, "id": request.principal.ref.id},
            "action": {"type": "Action", "id": request.action.name},
            "resource": {"type": request.resource.ref.type, "id": request.resource.ref.id},
            "context": encode(request.context).decode(),
        }
        entities = cedarpy.Entities.from_json_str(encode(bodies(closure(request))).decode(), self.schema)
        result = cedarpy.is_authorized(asked, self.handle, entities, self.schema)
        assert result.decision != cedarpy.Decision.NoDecision, result.diagnostics.errors
        found = (re.search(r"policy `([^`]+)`", error) for error in result.diagnostics.errors)
        errors = {match[1] for match in found if match}
        allowed = result.allowed and not errors
        reasons = () if result.allowed and errors else tuple(sorted(result.diagnostics.reasons))
        return allowed, reasons, errors


@pytest.mark.parametrize("part", range(4))
def test_slices_decide_as_the_whole_on_10000_requests(part: int) -> None:
    rng = random.Random(part)
    seen: dict[str, int] = {"allowed": 0, "by a forbid": 0, "by an error": 0, "by nothing": 0}
    for _ in range(BUNDLES // 4):
        made = random_bundle(rng)
        engine, whole = Engine(made), Whole(made)
        for _ in range(REQUESTS):
            request = generate.request(rng)
            verdict = engine.decide(request)
            decision = verdict.decision
            ours = (decision.allowed, decision.reasons, {failure.policy for failure in verdict.failures})
            assert ours == whole.decide(request), request
            seen[
                "allowed" if ours[0] else "by a forbid" if ours[1] else "by an error" if ours[2] else "by nothing"
            ] += 1
    assert all(count > REQUESTS * BUNDLES / 4 * 0.01 for count in seen.values()), seen


def test_a_slice_is_a_fraction_of_the_whole() -> None:
    rng = random.Random(1)
    made = random_bundle(rng)
    engine = Engine(made)
    request = generate.request(rng)
    kind = (request.action.name, request.principal.ref.type, request.resource.ref.type)
    engine.decide(request)
    assert len(engine.sliced(kind).slice(request).policies) < len(made.policies) / 2


def test_a_role_through_a_group_of_groups_counts() -> None:
    policy = 'permit(principal in Group::"company", action == Action::"git:fetch", resource);'
    engine = Engine(bundle(policy))
    alice = who("User:alice", "Group:team")
    team = what("Group:team", "Group:department")
    department = what("Group:department", "Group:company")
    assert not engine.decide(asks(alice, "git:fetch", what("Repository:shop"))).decision.allowed
    assert engine.decide(asks(alice, "git:fetch", what("Repository:shop"), team, department)).decision.allowed


def test_groups_that_contain_each_other_end_the_search() -> None:
    engine = Engine(bundle('permit(principal in Group::"c", action == Action::"git:fetch", resource);'))
    request = asks(
        who("User:a", "Group:a"),
        "git:fetch",
        what("Repository:r"),
        what("Group:a", "Group:b"),
        what("Group:b", "Group:a"),
    )
    verdict = engine.decide(request)
    assert not verdict.decision.allowed


def test_slices_are_bounded_and_beyond_the_bound_the_whole_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_SLICES > 100
    monkeypatch.setattr("everproof.policy.slices.MAX_SLICES", 2)
    policies = [f'permit(principal == User::"u{at}", action == Action::"git:fetch", resource);' for at in range(6)]
    engine = Engine(bundle(*policies))
    for at in range(6):
        assert engine.decide(asks(who(f"User:u{at}"), "git:fetch", what("Repository:r"))).decision.reasons == (
            chr(97 + at),
        )
    assert len(engine.sliced(("git:fetch", "User", "Repository"))._slices) == 2


def test_only_attributes_that_are_read_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[Any] = []
    original = _internal.is_authorized

    def spy(*arguments: Any) -> str:
        handed.append(arguments)
        answer: str = original(*arguments)
        return answer

    monkeypatch.setattr(_internal, "is_authorized", spy)
    engine = Engine(bundle('permit(principal, action == Action::"git:fetch", resource) when { principal has name };'))
    verdict = engine.decide(asks(who("User:a", name="n", email="secret@x"), "git:fetch", what("Repository:r"), risk=3))
    assert verdict.decision.allowed
    [(asked, _, entities, *_)] = handed
    assert "secret@x" not in entities
    assert "risk" not in asked["context"]
    assert b"secret@x" in verdict.entities
    assert b"risk" in verdict.context
