from everproof.authorize import Allowed, Denied
from everproof.kernel.words import Action, Fact, Ref
from tests.access.house import House, files

LOGIN = "host:login"
WEB = Ref("Host", "web-1")


class Risk:
    """A source that has somebody at a risk."""

    name = "risk"
    says = frozenset({"risk"})

    def facts(self, *_: object) -> tuple[Fact, ...]:
        return (Fact("risk", 90, _[3], self.name),)  # type: ignore[arg-type] # the fourth is the time


async def incident(house: House, who: str = "ada") -> str:
    outcome = await house.access.incidents.open(house.proof(who), "checkout is down")
    assert isinstance(outcome, Allowed)
    found: str = outcome.outcome.id
    return found


async def test_on_call_in_an_incident_gets_it_at_once_and_it_says_by_which_policy(each_house: House) -> None:
    house = each_house
    await incident(house)
    request = await house.request("oli", LOGIN, WEB)
    assert request.state == "granted"
    assert request.grant is not None
    assert request.grant.policies == ("access/on-call",)
    assert request.grant.approvers == ()
    assert await house.may("oli", Action(LOGIN), WEB)


async def test_without_an_incident_people_are_asked(house: House) -> None:
    request = await house.request("oli", LOGIN, WEB)
    assert request.state == "requested"
    assert "oli asks for host:login" in house.told[-1].subject


async def test_who_is_not_on_call_waits_for_people(house: House) -> None:
    await incident(house)
    assert (await house.request("dev", LOGIN, WEB)).state == "requested"


async def test_incident_of_ones_own_making_lets_nobody_through(house: House) -> None:
    own = (
        '@id("own") @title("On call opens") permit (principal is User, action == Action::"access:incident", resource);'
    )
    await house.rule(files(own=own))
    await incident(house, "oli")
    assert (await house.request("oli", LOGIN, WEB)).state == "requested"


async def test_closed_incident_lets_nobody_through(house: House) -> None:
    opened = await incident(house)
    assert isinstance(await house.access.incidents.close(house.proof("ada"), opened), Allowed)
    assert isinstance(await house.access.incidents.close(house.proof("ada"), opened), Denied)
    assert (await house.request("oli", LOGIN, WEB)).state == "requested"
    await house.restart()
    assert house.access.incidents.current() is None


async def test_at_a_high_risk_people_are_asked(house: House) -> None:
    await incident(house)
    house.app.authorizer.register(Risk())
    assert (await house.request("oli", LOGIN, WEB)).state == "requested"


async def test_rule_that_is_not_automatic_is_never_granted_at_once(house: House) -> None:
    await incident(house)
    request = await house.request("oli", "deployment:start", Ref("Environment", "production"))
    assert request.state == "requested"


async def test_administrator_is_granted_nothing_at_once(house: House) -> None:
    """They may do everything by their role, and that is no reason to be asked by nobody."""
    closed = (
        '@id("closed") @title("Only by grant") forbid (principal, action == Action::"host:login", resource) '
        "unless { context has granted && context.granted };"
    )
    await house.rule(files(closed=closed))
    assert (await house.request("ada", LOGIN, WEB)).state == "requested"


async def test_nobody_else_opens_an_incident(house: House) -> None:
    assert isinstance(await house.access.incidents.open(house.proof("dev"), "let me in"), Denied)
