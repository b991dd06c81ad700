"""The route maps of docs/gateways.md: those with a name are run by tests/gateways, the others here."""

import re
from pathlib import Path

from everproof.kernel.words import Ref
from everproof.policy.schema import schema_of
from everproof.routes import load_routes

PAGE = Path(__file__).parents[2] / "docs" / "gateways.md"
SCHEMA = b"""
entity Project in [Space] = { name?: String };
action "project:configure" in [write] appliesTo {
  principal: [User, Job, Service, Machine, Device], resource: [Project], context: Facts
};
"""


def test_a_route_may_be_an_action_and_a_resource_of_ones_own() -> None:
    [text] = re.findall(r"(?ms)^```toml\n(.*?)^```$", PAGE.read_text())
    files = {"routes/a.toml": f'origins = ["https://a.example"]\n{text}'.encode(), "schema/a.cedarschema": SCHEMA}
    [service] = load_routes(files, schema_of(files)).services
    match = service.find("POST", "/projects/everproof/settings", "a.example")
    assert match.action.name == "project:configure"
    assert match.resource.ref == Ref("Project", "everproof")
    assert match.resource.attributes == {"name": "everproof"}
