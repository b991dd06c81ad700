"""A policy change, known by what it would have done before it does it."""

import json

from demo.house import House
from demo.refusing import refused
from demo.stage import expect, scene
from demo.world import EVERPROOF, Failed

FREEZE = """\
@id("git/freeze")
@title("Only administrators push to the shop while it is frozen")
@advice("wait for the end of the freeze")
forbid (principal, action == Action::"git:push", resource in Repository::"acme/shop")
unless { principal in Group::"administrators" };
"""


@scene("a stricter policy is replayed over what was decided before it rules")
def replayed(house: House) -> str:
    alice = house.world.person("alice")
    (house.policy / ".everproof" / "policies" / "freeze.cedar").write_text(FREEZE)
    house.commit_policy(alice, "Freeze the shop")
    try:
        output = house.everproof("policy", "replay", "--since", "1d", "--with", str(house.policy), "--json")
    except Failed as failure:
        output = failure.output
    told = json.loads(output)
    found = told["findings"]
    locked = {group["principal"]["id"]: group["count"] for group in found["groups"] if group["turn"] == "denied"}
    expect("bob" in locked, f"bob is not among {locked}")
    return (
        f"{found['decisions']} decisions in {told['seconds']:.1f} s: it would have locked out bob {locked['bob']} times"
    )


@scene("it is applied all the same", attack=True)
def locked_out(house: House) -> str:
    alice = house.world.person("alice")
    said = refused(house, alice, EVERPROOF, "policy", "apply", "HEAD", why="would have denied", at=house.policy)
    expect('User::"bob"' in house.refusals[-1][1], "it does not say that bob is locked out")
    alice.run("git", "reset", "-q", "--hard", "HEAD~1", at=house.policy)
    return said


@scene("a policy of last week, signed and valid then, is applied again", attack=True)
def older(house: House) -> str:
    alice = house.world.person("alice")
    alice.run("git", "commit", "-q", "--allow-empty", "-m", "Our policy, reviewed", at=house.policy)
    alice.run(EVERPROOF, "policy", "apply", "HEAD", at=house.policy)
    old = alice.run("git", "rev-parse", "HEAD~1", at=house.policy).strip()
    return refused(house, alice, EVERPROOF, "policy", "apply", old, why="does not come after", at=house.policy)
