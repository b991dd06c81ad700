"""What docs/people.md says to write, the program reads."""

import re
from pathlib import Path

import msgspec

from everproof.identity.sign_on import read_sign_on
from everproof.integrations.sign_on import provider_kinds
from everproof.kernel.settings import Settings
from everproof.kernel.toml import parse_toml
from everproof.policy import load_bundle
from everproof.policy.starter import starter_files

PAGE = (Path(__file__).parents[2] / "docs" / "people.md").read_text()
BLOCKS = [re.sub(r"(?m)^ {3}", "", block) if indent else block
          for indent, block in re.findall(r"(?ms)^( *)```toml\n(.*?)^ *```$", PAGE)]  # fmt: skip


def test_each_sign_on_file_is_one_that_is_read() -> None:
    files = {
        match[1]: block.encode() for block in BLOCKS if (match := re.match(r"# \.everproof/(sign-on/\S+)\n", block))
    }
    assert set(read_sign_on(files, provider_kinds())) == {"okta", "entra", "google", "keycloak", "acme"}


def test_what_goes_into_the_settings_is_read() -> None:
    settings = [block for block in BLOCKS if block.startswith("# server.toml")]
    found = [parse_toml(block, Settings, place="docs/people.md") for block in settings]
    assert [sorted(one.sign_on) for one in found] == [["okta"], []]
    assert len(BLOCKS) == len(settings) + 5


def test_the_policy_rules() -> None:
    (policy,) = re.findall(r"(?ms)^```cedar\n(.*?)^```$", PAGE)
    load_bundle(starter_files() | {"policies/house.cedar": policy.encode()})


def test_every_field_of_a_sign_on_file_is_told() -> None:
    from everproof.identity.sign_on.files import ProviderTable

    table = PAGE.partition("## What a sign-on file says")[2].partition("## ")[0]
    told = set(re.findall(r"`\[?([a-z_]+)\]?`", table.partition("**Who")[0]))
    fields = {one.name for one in msgspec.structs.fields(ProviderTable)} - {"tenant", "hosted_domains"}
    assert fields <= told
