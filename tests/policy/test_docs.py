"""The examples of docs/policy.md are a bundle that loads and passes its own tests."""

import re
from pathlib import Path

from everproof.policy import Engine, diff, load_bundle, run_trials

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
FILES = {
    path: text.encode()
    for path, text in re.findall(r"^`(policies/[a-z.]+)`:\n\n```[a-z]+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
}
[SCHEMA] = re.findall(r"^```cedarschema\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BUNDLE = load_bundle({**FILES, "schema/own.cedarschema": SCHEMA.encode()})


def test_every_example_passes_its_tests() -> None:
    runs = run_trials(Engine(BUNDLE))
    assert {path.removesuffix(".toml") for path in FILES} >= {"policies/releases.test", "policies/production.test"}
    assert len(runs) == 7
    assert all(run.passed for run in runs), "\n".join(run.text() for run in runs)


def test_the_denial_shown_is_the_denial_given() -> None:
    engine = Engine(BUNDLE)
    [trial] = [trial for trial in BUNDLE.trials if trial.name.endswith("this morning")]
    request = trial.request
    text = engine.explain(request, engine.decide(request), "auditor").text()
    assert f"```text\n{text}\n```" in PAGE


def test_the_page_names_every_module() -> None:
    assert diff(BUNDLE, BUNDLE).decisions == ()
    from everproof import policy

    folder = Path(str(policy.__file__)).parent
    for name in re.findall(r"`([a-z_]+\.py)`", PAGE):
        assert (folder / name).exists(), name
