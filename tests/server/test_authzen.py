"""Every rule of the Authorization API 1.0 for the two evaluation endpoints, one test each."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from everproof.authorize import Allowed, Denied, Outcome
from everproof.authorize.outcome import _SEAL
from everproof.kernel.errors import UnauthenticatedError, UnavailableError
from everproof.kernel.words import NOTHING, Action, Attributes, Decision, Mode, Principal, Proof, Ref, Resource
from everproof.ledger import Receipt
from everproof.server.authzen import MAX_ITEMS, AuthZEN, error_form
from everproof.server.http import Application
from tests.server.asgi import Answer, call

ISSUER = "https://pdp.example"
CALLER = Ref("Service", "gateway")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
JSON = {"content-type": "application/json"}

ALICE = {"type": "User", "id": "alice"}
READ = {"name": "secret:read"}
RECORD = {"type": "Secret", "id": "1"}
QUESTION = {"subject": ALICE, "action": READ, "resource": RECORD}


class _Explained(msgspec.Struct):
    missing: str = "mfa_age"

    def text(self) -> str:
        return "mfa_age was 3 h, the policy allows 15 min"


class Authorizer:
    """Stands in for the one call: allows all but the secrets whose ids start with "no"."""

    def __init__(self) -> None:
        self.asked: list[tuple[Proof, Action, Resource, Attributes, Attributes, str | None]] = []

    def is_timeless(self, _allowed: Allowed[Any, Any, Any]) -> bool:
        return False

    async def authorize(
        self,
        proof: Proof,
        action: Action,
        resource: Resource,
        *,
        context: Attributes = NOTHING,
        detail: Attributes = NOTHING,
        mode: Mode = "enforce",
        request: str | None = None,
    ) -> Outcome:
        index = len(self.asked)
        self.asked.append((proof, action, resource, context, detail, request))
        await asyncio.sleep(0)
        if resource.ref.id == "lost":
            raise UnavailableError("the database cannot be reached")
        receipt = Receipt("origin", index, f"ent_{index}")
        if resource.ref.id.startswith("no"):
            return Denied(
                proof=proof,
                action=action,
                resource=resource,
                decision=Decision(allowed=False, bundle="b"),
                receipt=receipt,
                reason="no policy allows it",
                lets_pass=mode == "observe",
                explain=lambda _audience: _Explained(),  # type: ignore[arg-type,return-value]
            )
        return Allowed(
            proof=proof,
            action=action,
            resource=resource,
            decision=Decision(allowed=True, bundle="b"),
            receipt=receipt,
            outcome=None,
            seal=_SEAL,
        )


class Point:
    """A policy decision point over the stand-in."""

    def __init__(self) -> None:
        self.authorizer = Authorizer()
        self.mode: Mode = "enforce"
        self.door = AuthZEN(self.authorizer, prove=self.prove, vouch=self.vouch, issuer=ISSUER, mode=lambda: self.mode)
        self.app = Application(self.door.routes(), title="pdp", version="1", forms=[error_form])

    def prove(self, scope: Any) -> Proof:
        if (b"authorization", b"DPoP good") not in scope["headers"]:
            raise UnauthenticatedError("no token")
        return Proof(kind="access-token", principal=Principal(ref=CALLER), at=NOW)

    def vouch(self, caller: Proof, subject: Ref) -> Proof:
        return Proof(kind="asserted", principal=Principal(ref=subject), at=NOW, vouched_by=caller.principal.ref)

    async def ask(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        return await call(self.app, "POST", path, body, {"authorization": "DPoP good", **(headers or {})})

    async def one(self, body: object, **headers: str) -> Answer:
        return await self.ask("/access/v1/evaluation", body, headers)

    async def many(self, body: object, **headers: str) -> Answer:
        return await self.ask("/access/v1/evaluations", body, headers)


@pytest.fixture
def point() -> Point:
    return Point()


def resources(*ids: str) -> list[dict[str, Any]]:
    return [{"resource": {"type": "Secret", "id": one}} for one in ids]


def decisions(answer: Answer) -> list[bool]:
    assert answer.status == 200, answer.body
    return [one["decision"] for one in answer.json["evaluations"]]


async def test_a_permit_is_200_with_decision_true(point: Point) -> None:
    answer = await point.one(QUESTION)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {"decision": True, "context": {"id": "ent_0", "index": 0}}


async def test_a_denial_is_200_with_decision_false_and_says_why(point: Point) -> None:
    answer = await point.one({**QUESTION, "resource": {"type": "Secret", "id": "no"}})
    assert answer.status == 200
    assert answer.json["decision"] is False
    assert answer.json["context"]["reason_admin"] == {"403": "no policy allows it"}
    assert "mfa_age was 3 h" in answer.json["context"]["reason_user"]["403"]


async def test_a_door_that_observes_lets_pass_and_says_that_it_would_deny(point: Point) -> None:
    point.mode = "observe"
    answer = await point.one({**QUESTION, "resource": {"type": "Secret", "id": "no"}})
    assert answer.json["decision"] is True
    assert answer.json["context"]["would_deny"] is True
    assert answer.json["context"]["reason_admin"] == {"403": "no policy allows it"}


async def test_the_subject_is_vouched_for_by_the_caller(point: Point) -> None:
    await point.one(QUESTION)
    proof = point.authorizer.asked[0][0]
    assert (proof.principal.ref, proof.vouched_by) == (Ref("User", "alice"), CALLER)


async def test_a_caller_who_asks_about_itself_vouches_for_nobody(point: Point) -> None:
    await point.one({**QUESTION, "subject": {"type": "Service", "id": "gateway"}})
    assert point.authorizer.asked[0][0].vouched_by is None


async def test_what_the_caller_says_of_the_subject_is_recorded_and_decides_nothing(point: Point) -> None:
    await point.one({**QUESTION, "subject": {**ALICE, "properties": {"role": "admin"}}})
    proof, _, _, context, detail, _ = point.authorizer.asked[0]
    assert proof.principal.attributes == {}
    assert context == {}
    assert detail == {"asked_by": 'Service::"gateway"', "subject": {"role": "admin"}}


async def test_resource_properties_and_context_reach_policy(point: Point) -> None:
    resource = {**RECORD, "properties": {"owner": "bob"}}
    await point.one({**QUESTION, "resource": resource, "context": {"ip": "10.0.0.1", "tags": ["a"]}})
    _, _, asked, context, _, _ = point.authorizer.asked[0]
    assert asked.attributes == {"owner": "bob"}
    assert context == {"ip": "10.0.0.1", "tags": ["a"]}


async def test_values_that_policy_cannot_know_are_put_into_words_or_left_out(point: Point) -> None:
    context = {"risk": 0.7, "large": 2**60, "none": None, "sure": True, "näme": 1, "deep": {"list": [None, 1.5]}}
    assert (await point.one({**QUESTION, "context": context})).status == 200
    assert point.authorizer.asked[0][3] == {
        "risk": "0.7",
        "large": str(2**60),
        "sure": True,
        "deep": {"list": ["1.5"]},
    }


@pytest.mark.parametrize("name", ["subject", "action", "resource"])
async def test_a_missing_entity_is_400(point: Point, name: str) -> None:
    answer = await point.one({key: value for key, value in QUESTION.items() if key != name})
    assert answer.status == 400
    assert name in answer.body.decode()


@pytest.mark.parametrize(
    ("name", "field"),
    [("subject", "type"), ("subject", "id"), ("action", "name"), ("resource", "type"), ("resource", "id")],
)
async def test_a_missing_field_of_an_entity_is_400(point: Point, name: str, field: str) -> None:
    entity = {key: value for key, value in QUESTION[name].items() if key != field}
    assert (await point.one({**QUESTION, name: entity})).status == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", "alice"),
        ("subject", {"type": 1, "id": "alice"}),
        ("subject", {"type": "User", "id": None}),
        ("subject", {"type": "User", "id": ""}),
        ("subject", {**ALICE, "properties": []}),
        ("action", {"name": ["read"]}),
        ("action", "read"),
        ("resource", [RECORD]),
        ("resource", {**RECORD, "properties": "x"}),
        ("context", "x"),
        ("context", []),
    ],
)
async def test_a_wrong_type_is_400(point: Point, name: str, value: object) -> None:
    assert (await point.one({**QUESTION, name: value})).status == 400
    assert not point.authorizer.asked


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", json.dumps(QUESTION).encode("utf-16")])
@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/access/v1/evaluations"])
async def test_an_empty_or_bad_body_is_400(point: Point, path: str, body: bytes) -> None:
    assert (await point.ask(path, body, JSON)).status == 400


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/access/v1/evaluations"])
async def test_another_content_type_is_400(point: Point, path: str, media: str) -> None:
    headers = {"content-type": media} if media else {}
    assert (await point.ask(path, json.dumps(QUESTION).encode(), headers)).status == 400


async def test_an_object_with_the_same_key_twice_is_400(point: Point) -> None:
    body = json.dumps(QUESTION).replace('"id": "alice"', '"id": "alice", "id": "root"').encode()
    assert (await point.one(body, **JSON)).status == 400


async def test_an_error_is_a_message_string(point: Point) -> None:
    answer = await point.one({**QUESTION, "subject": {"type": "User"}})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body == b"body: subject: Object missing required field `id`\n"


async def test_unknown_fields_are_ignored_everywhere(point: Point) -> None:
    body = {name: {**entity, "x": {"y": 1}} for name, entity in QUESTION.items()}
    assert (await point.one({**body, "context": {}, "future": [1]})).json["decision"] is True
    batch = {**body, "evaluations": [{"future": 1}], "options": {"future": 1}, "z": None}
    assert decisions(await point.many(batch)) == [True]


@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/access/v1/evaluations"])
async def test_the_request_id_is_echoed_and_recorded(point: Point, path: str) -> None:
    answer = await point.ask(path, QUESTION, {"x-request-id": "bfe9eb29"})
    assert answer.headers["x-request-id"] == "bfe9eb29"
    assert point.authorizer.asked[0][5] == "bfe9eb29"


async def test_the_request_id_is_echoed_on_an_error_and_a_denial(point: Point) -> None:
    assert (await point.one(b"{", **JSON, **{"x-request-id": "r1"})).headers["x-request-id"] == "r1"
    denied = await point.one({**QUESTION, "resource": {"type": "Secret", "id": "no"}}, **{"x-request-id": "r2"})
    assert denied.headers["x-request-id"] == "r2"


async def test_without_a_request_id_none_is_made_up(point: Point) -> None:
    assert "x-request-id" not in (await point.one(QUESTION)).headers


@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/access/v1/evaluations"])
async def test_a_caller_without_a_token_gets_401_whatever_it_asks(point: Point, path: str) -> None:
    for body in (QUESTION, {}):
        assert (await call(point.app, "POST", path, body)).status == 401
    assert not point.authorizer.asked


async def test_a_batch_keeps_order_and_number(point: Point) -> None:
    answer = await point.many({**QUESTION, "evaluations": resources("1", "no1", "2", "no2", "3", "3")})
    assert decisions(answer) == [True, False, True, False, True, True]
    assert "decision" not in answer.json


async def test_a_long_batch_keeps_order_too(point: Point) -> None:
    ids = [f"{'no' if number % 3 == 0 else 'yes'}{number}" for number in range(100)]
    answer = await point.many({**QUESTION, "evaluations": resources(*ids)})
    assert decisions(answer) == [number % 3 != 0 for number in range(100)]


@pytest.mark.parametrize(
    "bad", [1, "x", None, [], {"subject": "alice"}, {"resource": {"type": "Secret"}}, {"context": 1}]
)
async def test_a_bad_item_is_200_and_that_item_is_denied(point: Point, bad: object) -> None:
    [good] = resources("1")
    answer = await point.many({**QUESTION, "evaluations": [good, bad, good]})
    assert decisions(answer) == [True, False, True]
    assert answer.json["evaluations"][1]["context"]["error"]["status"] == 400


async def test_an_item_that_nothing_completes_is_denied_alone(point: Point) -> None:
    answer = await point.many({"subject": ALICE, "action": READ, "evaluations": [{"resource": RECORD}, {}]})
    assert decisions(answer) == [True, False]
    assert "resource" in answer.json["evaluations"][1]["context"]["error"]["message"]


async def test_an_item_that_cannot_be_recorded_is_denied(point: Point) -> None:
    answer = await point.many({**QUESTION, "evaluations": resources("1", "lost")})
    assert decisions(answer) == [True, False]
    assert answer.json["evaluations"][1]["context"]["error"]["status"] == 503


@pytest.mark.parametrize("extra", [{}, {"evaluations": []}])
async def test_missing_or_empty_evaluations_is_a_single_question(point: Point, extra: dict[str, Any]) -> None:
    answer = await point.many({**QUESTION, **extra})
    assert (answer.status, answer.json["decision"]) == (200, True)
    assert "evaluations" not in answer.json
    assert (await point.many({"subject": ALICE, "action": READ, **extra})).status == 400


async def test_defaults_are_inherited_and_overridden_as_whole_objects(point: Point) -> None:
    defaults = {
        "subject": ALICE,
        "action": READ,
        "resource": {**RECORD, "properties": {"owner": "bob"}},
        "context": {"a": 1, "b": 2},
    }
    items = [{}, {"resource": {"type": "Secret", "id": "2"}, "context": {"a": 3}}, {"context": {}}]
    assert decisions(await point.many({**defaults, "evaluations": items})) == [True, True, True]
    seen = [(resource.attributes, context) for _, _, resource, context, _, _ in point.authorizer.asked]
    assert seen == [
        ({"owner": "bob"}, {"a": 1, "b": 2}),
        ({}, {"a": 3}),
        ({"owner": "bob"}, {}),
    ]


@pytest.mark.parametrize("body", [{"subject": "alice"}, {"evaluations": {}}, {"options": []}, {"context": 1}])
async def test_a_batch_with_a_wrong_type_beside_its_items_is_400(point: Point, body: dict[str, Any]) -> None:
    assert (await point.many({**QUESTION, "evaluations": [{}], **body})).status == 400


async def test_execute_all_is_the_default_and_can_be_named(point: Point) -> None:
    spellings: list[dict[str, Any]] = [{}, {"options": {}}, {"options": {"evaluations_semantic": "execute_all"}}]
    for options in spellings:
        answer = await point.many({**QUESTION, "evaluations": resources("no", "1", "no"), **options})
        assert decisions(answer) == [False, True, False]


async def test_deny_on_first_deny_stops_after_the_first_denial(point: Point) -> None:
    options = {"evaluations_semantic": "deny_on_first_deny"}
    answer = await point.many({**QUESTION, "evaluations": resources("1", "no", "2"), "options": options})
    assert decisions(answer) == [True, False]
    assert len(point.authorizer.asked) == 2
    all_allowed = await point.many({**QUESTION, "evaluations": resources("1", "2"), "options": options})
    assert decisions(all_allowed) == [True, True]


async def test_deny_on_first_deny_counts_a_failure_as_a_denial(point: Point) -> None:
    options = {"evaluations_semantic": "deny_on_first_deny"}
    answer = await point.many({**QUESTION, "evaluations": [{}, {"subject": 1}, {}], "options": options})
    assert decisions(answer) == [True, False]


async def test_permit_on_first_permit_stops_after_the_first_permit(point: Point) -> None:
    options = {"evaluations_semantic": "permit_on_first_permit"}
    answer = await point.many({**QUESTION, "evaluations": resources("no", "1", "2"), "options": options})
    assert decisions(answer) == [False, True]
    assert len(point.authorizer.asked) == 2
    all_denied = await point.many({**QUESTION, "evaluations": resources("no1", "no2"), "options": options})
    assert decisions(all_denied) == [False, False]


async def test_an_unknown_semantic_is_400(point: Point) -> None:
    answer = await point.many({**QUESTION, "evaluations": [{}], "options": {"evaluations_semantic": "best_effort"}})
    assert answer.status == 400


async def test_a_batch_has_a_bound(point: Point) -> None:
    answer = await point.many({**QUESTION, "evaluations": [{}] * (MAX_ITEMS + 1)})
    assert answer.status == 400


async def test_the_configuration_names_what_is_implemented_and_no_more(point: Point) -> None:
    answer = await call(point.app, "GET", "/.well-known/authzen-configuration")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "policy_decision_point": ISSUER,
        "access_evaluation_endpoint": f"{ISSUER}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{ISSUER}/access/v1/evaluations",
    }


async def test_only_post_asks(point: Point) -> None:
    assert (await call(point.app, "GET", "/access/v1/evaluation")).status == 405


async def test_the_bare_routes_stand_in_the_document(point: Point) -> None:
    document = (await call(point.app, "GET", "/openapi.json")).json
    validate(document)
    body = document["paths"]["/access/v1/evaluation"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Evaluation"}
