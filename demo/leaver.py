"""The end of a grant, and of somebody's time at the company."""

import time

from demo.company import Visitor
from demo.house import House
from demo.people import PATIENCE, PRODUCTION, SECONDS, START, may, visitor, why_not
from demo.refusing import refused
from demo.stage import expect, scene
from demo.world import EVERPROOF, Daemon, run

LEFT = 1.0
"""Seconds within which nothing of a leaver's opens anything."""


@scene("the minute is over, and dana deploys once more", attack=True)
def expired(house: House) -> str:
    dana = visitor(house, "dana")
    ends = float(house.world.kept["granted"]) + SECONDS
    while may(dana).json()["decision"] is True:
        expect(time.monotonic() < ends + PATIENCE, "it does not end")
        time.sleep(max(0.05, min(0.5, ends - time.monotonic())))
    found = dana.get(f"/v1/access/requests/{house.world.kept['request']}").json()
    expect(found["state"] == "expired", str(found))
    took = time.monotonic() - ends + SECONDS
    return f"refused: the grant ended by itself, {took:.0f} s after it began; the request stays findable"


@scene("the company's organisation at GitHub is audited")
def audited(house: House) -> str:
    company = house.company
    options = ["--api", company.api.url, "--ca-file", str(company.api.ca_file), "--token", "env:GITHUB_TOKEN"]
    command = f"{EVERPROOF} identity audit github acme {' '.join(options)} || true"
    said = run("sh", "-c", command, environment={**house.environment, "GITHUB_TOKEN": "ghs_app"})
    lines = [line for line in said.splitlines() if line.startswith("✗")]
    expect(any("Every member has two factors" in line for line in lines), said)
    return f"{said.strip().splitlines()[-1]}; dana has one factor there, and comes in without sign-on"


@scene("dana leaves, with two sessions, a request, and a running build", attack=True)
def leaves(house: House) -> str:
    dana, person = visitor(house, "dana"), house.world.person("dana")
    wanted = {"action": START, "resource": PRODUCTION, "seconds": SECONDS, "reason": "one more"}
    open_request = dana.post("/v1/access/requests", wanted).json()["id"]
    building = _build(house)
    alice = house.world.person("alice")
    outlook = alice.everproof("people", "leave", "dana", "--dry-run")
    expect("acme" in outlook, outlook)
    alice.everproof("people", "leave", "dana", "--reason", "a new job elsewhere")
    left = time.monotonic()
    said = why_not(house, dana.get("/v1/access/grants"), "over|ended|disabled|signed|session")
    building.process.wait(PATIENCE)
    took = time.monotonic() - left
    expect(took < LEFT, f"the last of it ended {took:.1f} s after she had left")
    expect(building.process.returncode != 0, building.log.read_text())
    refused(house, person, EVERPROOF, "identity", "me", why="disabled|revoked|over|ended|log in")
    request = visitor(house, "erin").get(f"/v1/access/requests/{open_request}").json()
    expect(request["state"] in {"cancelled", "lapsed"}, str(request))
    told = said.removeprefix("refused: ")
    return f"{took * 1000:.0f} ms later: both sessions: {told}; her build killed; her request taken back"


@scene("dana comes back, with her passkey and by the company's sign-on", attack=True)
def comes_back(house: House) -> str:
    dana = visitor(house, "dana")
    again = Visitor(house.world, str(house.ca), "dana")
    again.authenticator = dana.authenticator
    by_key = why_not(house, again.sign_in(), "disabled|no such|known|passkey|active")
    expect(again.sign_on(house.company).headers.get("location") != "/access", "she is in again")
    expect(again.me() == "", "she is somebody again")
    deadline = time.monotonic() + PATIENCE
    while 13 in house.company.organisation.members:  # noqa: PLR2004 - dana's account there
        expect(time.monotonic() < deadline, "she is a member at GitHub still")
        time.sleep(0.05)
    return f"{by_key}; and at GitHub she is no member of acme any more"


def _build(house: House) -> Daemon:
    """A step that dana runs on her own machine, once it runs."""
    person = house.world.person("dana")
    marker = person.home / "building"
    command = [
        EVERPROOF, "run", "--proof", "session", "--on", "Repository::acme/shop", "--stage", "build", "--",
        "sh", "-c", f"echo $$ > {marker}; exec sleep 600",
    ]  # fmt: skip
    step = house.world.start(command, "dana-build", {**person.environment, "EVERPROOF_CA": str(house.ca)})
    deadline = time.monotonic() + PATIENCE
    while not marker.exists() or not marker.read_text():
        expect(step.process.poll() is None, step.log.read_text(errors="replace"))
        expect(time.monotonic() < deadline, "the build does not begin")
        time.sleep(0.02)
    return step
