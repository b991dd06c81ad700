"""A stolen credential, and all that the thief made of it."""

import json
from typing import Any

from demo.house import House
from demo.jobs import OK, TOKEN_EXCHANGE, Job
from demo.refusing import not_given, refused
from demo.stage import expect, scene
from demo.world import EVERPROOF

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name, not a secret


class Theft:
    """Whoever stole a job's token with its key, and the tokens that they made of it."""

    def __init__(self, house: House) -> None:
        self.job, answer = house.job()
        expect(answer.status == OK, answer.reason)
        self.root = answer.json["credential"]
        self.tokens = [self.job.token]
        for parent in (0, 0, 1):
            self.tokens.append(self._derived(self.tokens[parent]))
        me = self.me(self.job.token)
        self.principal = f"{me['principal']['ref']['type']}::{me['principal']['ref']['id']}"

    def me(self, token: str) -> dict[str, Any]:
        return self.job.call("GET", "/v1/identity/me", token=token).json

    def alive(self) -> int:
        """How many of the tokens open anything."""
        return sum(self.job.call("GET", "/v1/identity/me", token=one).status == OK for one in self.tokens)

    def _derived(self, token: str) -> str:
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN}
        answer = self.job.call("POST", "/oauth/token", form=form)
        expect(answer.status == OK, answer.reason)
        made: str = answer.json["access_token"]
        return made


STOLEN: list[Theft] = []


@scene("alice looks what would end with a stolen credential: a dry run")
def look(house: House) -> str:
    STOLEN.append(Theft(house))
    alice = house.world.person("alice")
    plan = json.loads(alice.everproof("contain", STOLEN[0].root, "--dry-run", "--json"))
    expect(plan["credentials"] == len(STOLEN[0].tokens), str(plan))
    expect(STOLEN[0].alive() == len(STOLEN[0].tokens), "a dry run ended something")
    return f"{plan['credentials']} credentials, drawn as a tree; all of them still open what they opened"


@scene("the thief goes on with what was made of a contained credential", attack=True)
def contain(house: House) -> str:
    thief, alice = STOLEN[0], house.world.person("alice")
    done = json.loads(alice.everproof("contain", thief.root, "--reason", "seen in a log", "--json"))
    ended = done["containment"]["credentials"]
    expect(ended == len(thief.tokens), str(done))
    expect(thief.alive() == 0, "a descendant outlived its root")
    said = not_given(house, thief.job.call("GET", "/v1/identity/me", token=thief.tokens[-1]), "revoked")
    return f"{ended} ended with a receipt each; each then {said}"


@scene("a contained job comes again, with a fresh token of its platform", attack=True)
def come_again(house: House) -> str:
    thief, alice = STOLEN[0], house.world.person("alice")
    run_id = thief.principal.rpartition("/")[2]
    alice.everproof("contain", thief.principal, "--reason", "its runner is not ours any more")
    again = Job(house.world.url, house.ca)
    return not_given(house, again.exchange(house.issuer.mint(house.claims(run_id=run_id))), "contained")


@scene("it is released, and proves itself again")
def released(house: House) -> str:
    thief, alice = STOLEN[0], house.world.person("alice")
    alice.everproof("contain", thief.principal, "--release")
    run_id = thief.principal.rpartition("/")[2]
    again = Job(house.world.url, house.ca).exchange(house.issuer.mint(house.claims(run_id=run_id)))
    expect(again.status == OK, again.reason)
    expect(thief.alive() == 0, "what was ended came back")
    return "it has a token again; nothing that ended came back"


@scene("carol contains alice", attack=True)
def insubordinate(house: House) -> str:
    carol = house.world.person("carol")
    return refused(house, carol, EVERPROOF, "contain", "User::alice", why="response:contain")
