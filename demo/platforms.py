"""Jobs of other platforms, and what a job gets to read its repository with."""

import time
import urllib.error
import urllib.request
from ssl import create_default_context

from demo.house import House
from demo.jobs import OK, Job
from demo.refusing import not_given
from demo.stage import expect, scene

END_SECONDS = 10
DEAD = 401
DOOR = "/v1/repositories/token"


@scene("a GitLab job exchanges its token")
def gitlab(house: House) -> str:
    job = Job(house.world.url, house.ca)
    answer = job.exchange(house.hosts.gitlab_token())
    expect(answer.status == OK, answer.reason)
    told = job.call("GET", "/v1/identity/me", token=job.token).json["principal"]
    expect(told["ref"]["id"].startswith("gitlab/20/"), str(told))
    return f"it is {told['ref']['id'][:12]}…, of {told['attributes']['repository']} at {told['attributes']['ref']}"


@scene("a Jenkins build exchanges its token, which has no id of its own")
def jenkins(house: House) -> str:
    token = house.hosts.jenkins_token()
    answer = Job(house.world.url, house.ca).exchange(token)
    expect(answer.status == OK, answer.reason)
    again = Job(house.world.url, house.ca).exchange(token)
    expect(again.status != OK, "the same token was taken with another key")
    return "taken once; with another key it is refused"


@scene("a fork's merge request, in a pipeline of the project itself", attack=True)
def fork(house: House) -> str:
    changes = {
        "project_id": "666", "project_path": "mallory/shop", "namespace_id": "13", "namespace_path": "mallory",
        "sub": "project_path:mallory/shop:ref_type:branch:ref:main", "pipeline_source": "merge_request_event",
    }  # fmt: skip
    answer = Job(house.world.url, house.ca).exchange(house.hosts.gitlab_token(**changes))
    return not_given(house, answer, "fork")


@scene("a tag that is called main", attack=True)
def tag(house: House) -> str:
    token = house.hosts.gitlab_token(ref_type="tag", ref_path="refs/tags/main")
    return not_given(house, Job(house.world.url, house.ca).exchange(token), "ref_type")


@scene("another Jenkins job with the same folder's credential", attack=True)
def neighbour(house: House) -> str:
    token = house.hosts.jenkins_token(sub=house.hosts.nightly.replace("nightly", "mallory"))
    return not_given(house, Job(house.world.url, house.ca).exchange(token), "no trust binding")


@scene("a build job gets a token that reads its source, and dies with it")
def source(house: House) -> str:
    job, given = house.job()
    answer = job.call("POST", DOOR, body={}, token=job.token)
    expect(answer.status == OK, answer.reason)
    token = answer.json["token"]
    may = [_platform(house, token, method) for method in ("GET", "PUT")]
    expect(may == [200, 403], f"at the platform it may {may}")
    house.world.person("alice").everproof("revoke", given.json["credential"])
    revoked = time.monotonic()
    while _platform(house, token, "GET") != DEAD:
        expect(time.monotonic() - revoked < END_SECONDS, "the token outlives its job's credential")
        time.sleep(0.02)
    took = (time.monotonic() - revoked) * 1000
    return f"reads, does not write; the platform had ended it {took:.0f} ms after its job was revoked"


@scene("the build job asks for a token that writes", attack=True)
def write(house: House) -> str:
    job, _ = house.job()
    before = house.hosts.app.made
    answer = job.call("POST", DOOR, body={"permissions": {"contents": "write"}}, token=job.token)
    expect(house.hosts.app.made == before, "the platform was asked")
    return not_given(house, answer, "repository:write|polic|permit")


def _platform(house: House, token: str, method: str) -> int:
    """What the platform answers to who has the token."""
    api = house.hosts.api
    request = urllib.request.Request(f"{api.url}/repositories/74/contents/README.md", method=method)  # noqa: S310 - ours
    request.add_header("authorization", f"Bearer {token}")
    request.add_header("user-agent", "runner")
    tls = create_default_context(cafile=str(api.ca_file))
    try:
        with urllib.request.urlopen(request, context=tls, timeout=10) as response:  # noqa: S310 - the same
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
