"""A decision in process: schema on, a job that was never seen before, a directory of 10,000 entities.

The policies are as an organisation has them: four in ten give a role to a group in a space, three in ten are about one
kind of principal under conditions, two in ten about jobs by their attributes, one in ten forbids. They are spread over
fetching, pushing, secrets, stages, deployments, routes and hosts. Each request has its own job, repository and facts;
the closure comes from the directory as the identity room would give it.
"""

import random
import statistics
import time
from collections.abc import Iterator

from benchmarks.figure import Figure, measures
from everproof.kernel.words import Action, Principal, Ref, Resource
from everproof.policy import Bundle, Engine, Request, load_bundle

DIRECTORY = 10_000
REQUESTS = 4_000
ROUNDS = 5
ACTIONS = {
    "git:fetch": "Repository",
    "git:push": "Branch",
    "secret:read": "Secret",
    "stage:build": "Pipeline",
    "deployment:start": "Environment",
    "api:call": "Route",
    "host:login": "Host",
}


FRESH = "context has mfa_age && context.mfa_age < 900"
BOUND = "context has key_bound && context.key_bound"
OWN = "principal has repository_id && resource has repository_id && principal.repository_id == resource.repository_id"


def policies(count: int) -> Iterator[str]:
    rng = random.Random(count)
    for at in range(count):
        action = rng.choice(list(ACTIONS))
        scope = rng.choice([f'action == Action::"{action}"'] * 4 + ['action in Action::"read"'])
        group, space = f'Group::"g{rng.randrange(100)}"', f'Space::"s{rng.randrange(10)}"'
        kind = rng.random()
        if kind < 0.4:
            text = f"permit(principal in {group}, {scope}, resource in {space}) when {{ {BOUND} }};"
        elif kind < 0.7:
            type_ = rng.choice(["User", "Job", "Service"])
            text = f"permit(principal is {type_}, {scope}, resource in {space}) when {{ {FRESH} && {BOUND} }};"
        elif kind < 0.9:
            mine = f'principal has repository_id && principal.repository_id == "x{at}"'
            text = f"permit(principal is Job, {scope}, resource) when {{ {mine} && {BOUND} }};"
        else:
            risky = f"context has risk && context.risk > {at}"
            text = f"forbid(principal, {scope}, resource in {space}) when {{ {risky} }};"
        yield f'@id("p{at}") {text}'
    own = 'principal is Job, action == Action::"git:fetch", resource is Repository'
    yield f'@id("own") permit({own}) when {{ {OWN} }};'


def bundle(count: int) -> Bundle:
    return load_bundle({"policies/bench.cedar": "\n".join(policies(count - 1)).encode()})


def requests() -> list[Request]:
    """Each of another job in a directory of repositories and groups."""
    rng = random.Random(7)
    directory = [
        Resource(
            ref=Ref("Repository", f"shop/r{at}"),
            attributes={"name": f"shop/r{at}", "repository_id": str(at), "visibility": "private"},
            parents=(Ref("Space", f"s{at % 10}"),),
        )
        for at in range(DIRECTORY)
    ]
    found = []
    for run in range(REQUESTS):
        repository = rng.choice(directory)
        job = Principal(
            ref=Ref("Job", f"github/{repository.attributes['repository_id']}/run/{run}"),
            attributes={
                "issuer": "https://token.actions.githubusercontent.com",
                "repository": repository.attributes["name"],
                "repository_id": repository.attributes["repository_id"],
                "repository_owner_id": "65",
                "ref": "refs/heads/main",
                "ref_protected": True,
                "event": "push",
                "workflow": f"{repository.attributes['name']}/.github/workflows/build.yml@refs/heads/main",
                "commit": f"{run:040x}",
                "runner": "github-hosted",
                "actor": "alice",
                "run": str(run),
            },
            parents=(Ref("Group", f"g{rng.randrange(100)}"), Ref("Space", "main")),
        )
        facts = {"proof_kind": "access-token", "proof_age": run % 600, "key_bound": True, "risk": 0}
        found.append(Request(job, Action("git:fetch"), repository, facts))
    return found


def median(count: int) -> float:
    """Microseconds. The first round makes the slices, as a server's first minutes do; of the others the best counts."""
    engine = Engine(bundle(count))
    asked = requests()
    assert all(engine.decide(one).decision.allowed for one in asked)
    best = float("inf")
    for _ in range(ROUNDS):
        taken = []
        for one in asked:
            started = time.perf_counter_ns()
            engine.decide(one)
            taken.append(time.perf_counter_ns() - started)
        best = min(best, statistics.median(taken) / 1000)
    return best


@measures("decision_100", "decision_1000")
def decision() -> list[Figure]:
    return [Figure("decision_100", median(100), "µs", 80), Figure("decision_1000", median(1000), "µs", 160)]
