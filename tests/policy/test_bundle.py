# ruff: noqa: E501 - a policy and what comes of it are read best on one line
"""A bundle that cannot rule says why, with file, line, column and the line itself."""

import pytest

from everproof.policy import BundleError, load_bundle

GOOD = '@id("a") permit(principal, action, resource);'


def load(**files: str) -> None:
    load_bundle({name.replace("__", "/").replace("_", "."): text.encode() for name, text in files.items()})


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('@id("x") permit(principal, action resource);', "1:35", "unexpected token `resource`"),
        ('@id("x") permit(principal, action, resource)', "1:44", "the policy has no end"),
        ('// ok\n@id("x")\npermit(principal, action, resource)\nwhen { context.a = 3 };', "4:18", "'=' is not a valid operator in Cedar"),
        ('@id("x")\npermit(principal, action, resource) when { context has "unended };', "2:56", "the string has no end"),
        ("permit(principal, action, resource) § ;", "1:37", "'§' has no place in Cedar"),
        ("permit(principal, action, resource);", "1:1", "the policy has no @id"),
        ('@id("") permit(principal, action, resource);', "1:1", "the policy has no @id"),
        ('@id("a b") permit(principal, action, resource);', "1:2", "'a b' is not a name"),
        (f"{GOOD}\n{GOOD}", "2:2", "policies/x.cedar:1 has a policy 'a' already"),
        ('@id("x") @shdow("true") permit(principal, action, resource);', "1:11", "there is no annotation @shdow; did you mean @shadow?"),
        ('@id("x") @shadow("yes") permit(principal, action, resource);', "1:11", '@shadow is "true" or "false"'),
        ('@id("x") permit(principal is Usr, action, resource);', "1:30", "unrecognized entity type `Usr`"),
        ('@id("x") permit(principal, action == Action::"git:psh", resource);', "1:46", 'unrecognized action `Action::"git:psh"`'),
        ('@id("x") permit(principal is User, action, resource)\nwhen { principal.nam == "x" };', "2:18", "attribute `nam` on entity type `User` not found"),
        ('@id("x") permit(principal, action == Action::"git:push", resource)\nwhen {\n  context.risk < 4\n};', "3:11", "unable to guarantee safety of access to optional attribute `risk`"),
        ('@id("x") permit(principal, action == Action::"git:push", resource) when { context has risk && context.risk < "4" };', "1:68", "unexpected type: expected Long but saw String"),
        ('@id("x") permit(principal in Repository::"r", action, resource);', "1:10", "unable to find an applicable action"),
        ('@id("x") permit(principal, action == Action::"git:push", resource is Secret);', "1:10", "unable to find an applicable action"),
    ],
)  # fmt: skip
def test_a_bad_policy_has_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        load(policies__x_cedar=text)
    error = caught.value
    assert (error.place, message in error.message) == (f"policies/x.cedar:{place}", True), str(error)
    line, column = map(int, place.split(":"))
    shown, mark = error.excerpt.splitlines()
    assert shown == f"  {line} | {text.splitlines()[line - 1]}"
    assert mark.index("^") == len(f"  {line} | ") + column - 1
    assert error.excerpt in str(error)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(BundleError) as caught:
        load(
            policies__x_cedar='permit(principal, action, resource);\n@id("b") permit(principal is Usr, action, resource);',
            policies__y_cedar="nonsense",
        )
    assert [error.place for error in (caught.value, *caught.value.further)] == [
        "policies/x.cedar:1:1", "policies/x.cedar:2:30", "policies/y.cedar:1:8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        ({}, "policies/", "there is no policy"),
        ({"policy__x_cedar": GOOD}, "policy/x.cedar", "outside policies/, where nobody looks"),
        ({"policies__a_cedar": GOOD, "x_cedarschema": "entity X;"}, "x.cedarschema", "outside schema/"),
        ({"policies__a_cedar": GOOD, "schema__x_cedarschema": "entity User;"}, "schema/x.cedarschema:1:8", "`User` is declared twice"),
        ({"policies__a_cedar": GOOD, "schema__x_cedarschema": "entity Robot in [Hive];"}, "schema/x.cedarschema:1:18", "failed to resolve type"),
        ({"policies__a_cedar": GOOD, "schema__x_cedarschema": "entity Robot in Hive]"}, "schema/x.cedarschema:1:21", "unexpected token `]`"),
        ({"policies__a_cedar": GOOD, "schema__x_cedarschema": "action read;"}, "schema/x.cedarschema:1:8", "`read` is declared twice"),
        ({"policies__a_cedar": GOOD, "policies__a_links_toml": '[[link]]\nid = "l"\ntemplate = "none"'}, "policies/a.links.toml:2:6", "there is no template 'none'"),
        ({"policies__a_cedar": GOOD, "policies__a_links_toml": "[[link]]\nid = 3"}, "policies/a.links.toml: link[0].id", "Expected `str`"),
        ({"policies__a_cedar": GOOD, "policies__a_links_toml": "[[lnk]]"}, "policies/a.links.toml", "unknown field `lnk`"),
        ({"policies__a_cedar": GOOD, "policies__a_test_toml": "nonsense"}, "policies/a.test.toml", "not TOML"),
    ],
)  # fmt: skip
def test_a_bad_file_has_its_place(files: dict[str, str], place: str, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        load(**files)
    assert (caught.value.place, message in caught.value.message) == (place, True), str(caught.value)


ROLE = '@id("role") permit(principal in ?principal, action == Action::"git:push", resource in ?resource);'


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ("principal = 'Group::\"g\"'", "the template needs a resource"),
        ("principal = 'g'\nresource = 'Space::\"main\"'", "the template needs a principal"),
        ("principal = 'Repository::\"r\"'\nresource = 'Space::\"main\"'", "unable to find an applicable action"),
        ("principal = 'Robot::\"r\"'\nresource = 'Space::\"main\"'", "unrecognized entity type `Robot`"),
    ],
)
def test_a_link_that_cannot_be_has_its_place(slots: str, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        load(policies__a_cedar=ROLE, policies__a_links_toml=f'[[link]]\nid = "l"\ntemplate = "role"\n{slots}\n')
    assert str(caught.value.place).startswith("policies/a.links.toml:2")


def test_a_link_does_not_take_the_name_of_a_policy() -> None:
    with pytest.raises(BundleError, match="has a policy 'role' already"):
        load(
            policies__a_cedar=ROLE,
            policies__a_links_toml='[[link]]\nid = "role"\ntemplate = "role"\nprincipal = \'Group::"g"\'\nresource = \'Space::"main"\'',
        )


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ('principal = "alice"', "'alice' names no entity"),
        ("principal = 'Robot::\"r\"'", "there is no type Robot in the schema"),
        ("principal = 'User::\"a\"'\ncontext = { wether = true }", "the context has no attribute wether"),
        ('principal = \'User::"a"\'\nby = "nobody"', "there is no policy 'nobody'"),
    ],
)
def test_a_test_of_what_is_not_there_has_its_place(test: str, message: str) -> None:
    text = f'[[test]]\nname = "one"\naction = "git:fetch"\nresource = \'Repository::"r"\'\nexpect = "deny"\n{test}\n'
    with pytest.raises(BundleError, match=message) as caught:
        load(policies__a_cedar=GOOD, policies__a_test_toml=text)
    assert str(caught.value.place).startswith("policies/a.test.toml:2:")


def test_text_that_is_none_is_refused() -> None:
    with pytest.raises(BundleError, match="not UTF-8"):
        load_bundle({"policies/a.cedar": b"\xff\xfe"})


@pytest.mark.parametrize(
    "expression",
    ["(" * 20_000 + "true" + ")" * 20_000, "[" * 5_000 + "]" * 5_000, " && ".join(["true"] * 3_000), "1" + " + 1" * 200 + " == 1",
     "if true then true else " * 500 + "true", "context" + ".a" * 1_000],
    ids=["brackets", "sets", "and", "plus", "if", "attributes"],
)  # fmt: skip
def test_an_expression_nested_beyond_reason_is_refused_and_crashes_nothing(expression: str) -> None:
    with pytest.raises(BundleError, match="nested too deeply"):
        load(policies__a_cedar=f'@id("a") permit(principal, action, resource) when {{ {expression} }};')


def test_a_long_chain_of_conditions_is_not_deep() -> None:
    chain = " && ".join(["context has risk", *(f"context.risk != {at}" for at in range(200))])
    load(policies__a_cedar=f'@id("a") permit(principal, action == Action::"api:call", resource) when {{ {chain} }};')


def test_the_digest_is_over_every_file() -> None:
    files = {"policies/a.cedar": GOOD.encode(), "trust/github.toml": b"x"}
    digest = load_bundle(files).digest
    assert len(digest) == 64
    assert load_bundle(dict(reversed(files.items()))).digest == digest
    assert load_bundle({**files, "trust/github.toml": b"y"}).digest != digest
    assert load_bundle({"policies/a.cedar": GOOD.encode(), "trust/other.toml": b"x"}).digest != digest


def test_an_enforcement_points_own_context_has_a_type_in_the_bundle() -> None:
    made = load_bundle(
        {
            "schema/said.cedarschema": b"type Said = { ticket?: String };",
            "policies/a.cedar": b'@id("a") permit(principal, action == Action::"api:call", resource) when { context has said && context.said has ticket };',
        }
    )
    from everproof.policy import Engine
    from tests.policy.build import asks, what, who

    engine = Engine(made)
    assert "said" not in engine.facts
    assert "mfa_age" in engine.facts
    assert engine.decide(
        asks(who("User:a"), "api:call", what("Route:r"), said={"ticket": "T1", "more": 1.5})
    ).decision.allowed
    assert not engine.decide(asks(who("User:a"), "api:call", what("Route:r"), said={"more": "x"})).decision.allowed
