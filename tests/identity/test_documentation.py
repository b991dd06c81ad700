import re
from pathlib import Path

from everproof.identity.bindings import load_bindings
from everproof.integrations.github.ci import EVENTS
from everproof.integrations.gitlab.ci import SOURCES
from tests.identity.trust import KINDS

ALL_KINDS = {"azure", "bitbucket", "buildkite", "circleci", "github", "gitlab", "jenkins", "oidc"}
PAGE = (Path(__file__).parents[2] / "docs" / "trust.md").read_text()


def test_the_trust_files_of_the_documentation_load() -> None:
    blocks = re.findall(r"```toml\n# \.everproof/(\S+)\n(.*?)```", PAGE, re.DOTALL)
    bindings = load_bindings({name: text.encode() for name, text in blocks}, KINDS)
    assert bindings.urls >= {"https://token.actions.githubusercontent.com", "https://jenkins.example/oidc"}
    assert len(bindings.urls) == len(blocks)
    assert {bindings.issuer(url).kind.name for url in bindings.urls} == ALL_KINDS


def test_the_sources_of_the_documentation_are_those_that_are_safe() -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `pipeline_source`")]
    assert set(re.findall(r"`(\w+)`", row.split("|")[1])) - {"pipeline_source"} == SOURCES


def test_the_events_of_the_documentation_are_those_that_are_safe() -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `event_name`")]
    assert set(re.findall(r"`(\w+)`", row.split("|")[1])) - {"event_name"} == EVENTS
