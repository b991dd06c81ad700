"""Filters as RFC 7644, section 3.4.2.2, has them; sorting; pages by index and by cursor; chosen attributes."""

from typing import Any

import pytest
from scim2_models import ScimFilter

from everproof.server.scim.discovery import USER
from everproof.server.scim.filters import compiled
from tests.scim.conftest import ENTERPRISE, Directory, Site

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"

PEOPLE: tuple[dict[str, Any], ...] = (
    {
        "userName": "anna@example.com", "title": "Head", "userType": "Employee", "active": True,
        "name": {"familyName": "O'Malley", "givenName": "Anna"},
        "emails": [
            {"type": "work", "value": "anna@example.com", "primary": True}, {"type": "home", "value": "anna@home.org"},
        ],
        ENTERPRISE: {"department": "R&D", "employeeNumber": "10"},
    },
    {
        "userName": "bert@example.com", "userType": "Intern", "active": True, "displayName": "Bert",
        "emails": [{"type": "work", "value": "bert@example.org"}], ENTERPRISE: {"department": "Sales"},
    },
    {"userName": "carl@example.com", "title": "", "userType": "Employee", "active": False, "externalId": "X-1"},
)  # fmt: skip

FOUND = {
    'userName eq "ANNA@example.com"': "a",
    'userName ne "anna@example.com"': "bc",
    'name.familyName co "O\'Malley"': "a",
    'userName sw "B"': "b",
    'userName ew "example.com"': "abc",
    "title pr": "a",
    "not (title pr)": "bc",
    'userType eq "Employee" and active eq true': "a",
    'userType eq "Intern" or active eq false': "bc",
    'userType eq "Employee" and (emails co "example.org" or emails.value co "home.org")': "a",
    'emails[type eq "work" and value ew "@example.org"]': "b",
    'emails[type eq "home"].value eq "anna@home.org"': "a",
    'emails.type eq "work"': "ab",
    'emails.type ne "home"': "bc",
    "emails pr": "ab",
    "emails[primary eq true]": "a",
    'not (emails[type eq "work"])': "c",
    f'{ENTERPRISE}:department eq "r&d"': "a",
    f"{ENTERPRISE}:employeeNumber pr": "a",
    'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "carl@example.com"': "c",
    'externalId eq "X-1"': "c",
    'externalId eq "x-1"': "",
    'userName gt "anna@example.com" and userName le "bert@example.com"': "b",
    'meta.lastModified gt "2020-01-01T00:00:00Z"': "abc",
    'meta.created lt "2020-01-01T00:00:00Z"': "",
    'meta.resourceType eq "User"': "abc",
    "userType eq null": "",
    "displayName eq null": "ac",
    'userName eq "anna@example.com" and title eq "Foot"': "",
    'USERNAME EQ "anna@example.com"': "a",
    'displayName co "(.*)+$"': "",
}

REFUSED = (
    "userName", "userName eq", 'userName xx "a"', "(userName pr", 'userName eq "a" and', "userName eq anna",
    'emails[type eq "work"', 'nothing eq "x"', "active gt true", 'userName eq "a" garbage', "not userName pr", "",
)  # fmt: skip


@pytest.fixture
async def corp(quick: Site) -> Directory:
    corp = await quick.directory()
    for one in PEOPLE:
        await corp.create(one["userName"], **{name: value for name, value in one.items() if name != "userName"})
    return corp


async def test_filters_find_what_they_say(corp: Directory) -> None:
    found = {filter_: "".join(name[0] for name in await corp.found(filter_)) for filter_ in FOUND}
    assert found == FOUND


async def test_the_library_finds_the_same_in_its_own_way(corp: Directory) -> None:
    told = (await corp.get("/Users"))["Resources"]
    bound_to_people: Any = ScimFilter.__class_getitem__(USER)
    for filter_ in FOUND:
        bound = bound_to_people(filter_)
        test = compiled(bound, USER)
        assert [test(one) for one in told] == [bound.match(USER.model_validate(one)) for one in told], filter_


async def test_what_is_no_filter_is_refused_in_scims_own_words(corp: Directory) -> None:
    for filter_ in REFUSED[:-1]:
        answer = await corp.send("GET", "/Users", query={"filter": filter_})
        assert (answer.status, answer.json["scimType"], answer.json["status"]) == (400, "invalidFilter", "400"), filter_


async def test_order(corp: Directory) -> None:
    async def names(**query: str) -> str:
        return "".join(one["userName"][0] for one in (await corp.get("/Users", **query))["Resources"])

    assert await names(sortBy="userName", sortOrder="descending") == "cba"
    assert await names(sortBy="displayName") == "bac"  # who has none comes last, as they came
    assert await names(sortBy="emails") == "abc"
    assert await names(sortBy="emails.value", sortOrder="descending") == "cba"
    assert await names(sortBy=f"{ENTERPRISE}:department", sortOrder="Ascending") == "abc"
    assert await names(sortBy="name.familyName") == "abc"
    refused = await corp.send("GET", "/Users", query={"sortBy": "nothing"})
    assert (refused.status, refused.json["scimType"]) == (400, "invalidPath")


async def test_pages_by_index(corp: Directory) -> None:
    page = await corp.get("/Users", startIndex=2, count=1)
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (3, 2, 1)
    assert [one["userName"][0] for one in page["Resources"]] == ["b"]
    none = await corp.get("/Users", startIndex=99)
    assert (none["totalResults"], none["Resources"]) == (3, [])
    counted = await corp.get("/Users", count=0)
    assert (counted["totalResults"], counted["Resources"]) == (3, [])
    odd = await corp.get("/Users", startIndex=-4, count=-2, filter="userName pr")
    assert (odd["totalResults"], odd["startIndex"], odd["Resources"]) == (3, 1, [])


@pytest.mark.parametrize("query", [{}, {"filter": "userName pr"}, {"sortBy": "userName", "sortOrder": "descending"}])
async def test_pages_by_cursor(quick: Site, corp: Directory, query: dict[str, str]) -> None:
    seen, cursor, pages = [], "", 0
    while True:
        page = await corp.get("/Users", cursor=cursor, count=2, **query)
        seen += [one["userName"][0] for one in page["Resources"]]
        pages += 1
        assert "startIndex" not in page
        if "nextCursor" not in page:
            break
        cursor = page["nextCursor"]
    assert (pages, sorted(seen)) == (2, ["a", "b", "c"])

    async def refused(**changed: Any) -> str:
        answer = await corp.send("GET", "/Users", query={"cursor": cursor, "count": 2, **query, **changed})
        assert answer.status == 400
        word: str = answer.json["scimType"]
        return word

    assert await refused(count=1) == "invalidCount"
    assert await refused(filter='userName sw "a"') == "invalidCursor"
    assert await refused(cursor="AAAA") == "invalidCursor"
    other = await quick.directory("other")
    stolen = await other.send("GET", "/Users", query={"cursor": cursor, "count": 2, **query})
    assert stolen.json["scimType"] == "invalidCursor"


async def test_chosen_attributes_and_a_search_by_post(corp: Directory) -> None:
    listed = await corp.get("/Users", attributes="userName,emails.type", filter='userName sw "a"')
    [told] = listed["Resources"]
    assert told.keys() == {"schemas", "id", "userName", "emails"}
    assert told["emails"] == [{"type": "work"}, {"type": "home"}]
    [less] = (await corp.get("/Users", excludedAttributes="emails,meta", filter='userName sw "a"'))["Resources"]
    assert {"emails", "meta"}.isdisjoint(less)
    both = await corp.send("GET", "/Users", query={"attributes": "a", "excludedAttributes": "b"})
    assert both.status == 400
    body = {"schemas": [SEARCH], "filter": 'userName sw "b"', "attributes": ["userName"], "count": 1}
    for place in ("/Users/.search", "/.search"):
        answer = await corp.send("POST", place, body)
        assert [one["userName"] for one in answer.json["Resources"]] == ["bert@example.com"], answer.body
    assert (await corp.send("POST", "/.search", {"filter": "userName pr"})).json["scimType"] == "invalidSyntax"
