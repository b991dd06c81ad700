"""`everproof policy`: check, test, explain, compare, replay and apply policies. All but `apply` need no server."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from everproof.cli import bundles, policy_apply, policy_replay
from everproof.cli.main import EXIT_FAILED
from everproof.cli.terminal import Json, paint, print_json, printable, progress
from everproof.kernel.errors import InputError

if TYPE_CHECKING:
    from everproof.policy import Bundle, Request, Trial, Verdict

app = typer.Typer(help="Check, test, explain, compare and apply policies.", no_args_is_help=True)

Place = Annotated[
    str, typer.Argument(metavar="DIR", help="A folder with .everproof/, or a git commit.", show_default=False)
]


@app.command()
def check(place: Place = ".", *, as_json: Json = False) -> None:
    """Check that a bundle can rule: policies, schema, trust bindings.

    Every mistake is named with its file, line and column; exits with 2 if there is one.
    """
    from everproof.policy import BundleError

    try:
        bundle = bundles.load(place)
    except InputError as error:
        if not as_json:
            raise
        further = error.further if isinstance(error, BundleError) else ()
        problems = [{"place": one.place, "message": one.message, "todo": one.todo} for one in (error, *further)]
        print_json({"good": False, "problems": problems})
        raise typer.Exit(2) from None
    trust = sum(name.startswith("trust/") and name.endswith(".toml") for name in bundle.files)
    about = {
        "good": True,
        "digest": bundle.digest,
        "policies": len(bundle.policies),
        "templates": len(bundle.templates),
        "shadows": sum(policy.shadow for policy in bundle.policies),
        "tests": len(bundle.trials),
        "trust": trust,
    }
    if as_json:
        print_json(about)
        return
    shadows = f" ({about['shadows']} of them shadows)" if about["shadows"] else ""
    counts = f"{_many(len(bundle.policies), 'policy')}{shadows}, {_many(len(bundle.trials), 'test')}"
    print(f"{paint('good', 'good')}: {counts}, {_many(trust, 'trusted issuer')}")
    print(f"digest {bundle.digest}")


@app.command("test")
def run_tests(
    place: Place = ".",
    *,
    only: Annotated[str, typer.Option("--only", "-k", help="Only tests whose name has this in it.")] = "",
    as_json: Json = False,
) -> None:
    """Run the tests that stand beside the policies."""
    from everproof.policy import Engine

    bundle = bundles.load(place)
    engine = Engine(bundle)
    trials = [trial for trial in bundle.trials if only in trial.name]
    results = []
    with progress("testing") as report:
        for done, trial in enumerate(trials, 1):
            verdict = engine.decide(trial.request)
            results.append((trial, verdict, _complaint(trial, verdict)))
            report(done, len(trials))
    failed = [result for result in results if result[2]]
    untested = sorted(
        {policy.id for policy in bundle.policies if not policy.shadow}
        - {id_ for _, verdict, _ in results for id_ in verdict.decision.reasons}
    )
    if as_json:
        print_json(
            {"passed": len(results) - len(failed), "failed": len(failed), "untested": untested,
             "tests": [{"name": trial.name, "place": trial.place, "passed": not complaint, "complaint": complaint}
                       for trial, _, complaint in results]}
        )  # fmt: skip
    else:
        for trial, verdict, complaint in failed:
            print(f"{paint('failed', 'bad')}  {printable(trial.name)}  {paint(trial.place, 'faint')}")
            print(f"        {printable(complaint)}")
            if not verdict.decision.allowed:
                print(_indented(engine.explain(trial.request, verdict, "auditor").text()))
        if untested and not only:
            print(f"{paint('untested', 'warn')}  no test is decided by: {', '.join(untested)}")
        style = paint(f"{len(failed)} failed", "bad") if failed else paint("all as expected", "good")
        print(f"{_many(len(results), 'test')}, {style}")
    if failed or not results:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def explain(
    what: Annotated[list[str], typer.Argument(metavar="TEST | PRINCIPAL ACTION RESOURCE", help="What to explain.")],
    *,
    place: Annotated[str, typer.Option("--bundle", help="A folder with .everproof/, or a git commit.")] = ".",
    context: Annotated[list[str], typer.Option("--context", "-c", help="A fact, as name=value.")] = [],  # noqa: B006 - Typer's own form
    as_json: Json = False,
) -> None:
    """Say why a bundle decides as it does.

    TEST is the name of one of the bundle's tests. PRINCIPAL, ACTION and RESOURCE are any; what the bundle's tests
    describe of them counts. Exits with 1 where it is denied.
    """
    import msgspec

    from everproof.policy import Engine

    bundle = bundles.load(place)
    engine = Engine(bundle)
    request = _asked(bundle, what, context)
    verdict = engine.decide(request)
    explanation = engine.explain(request, verdict, "auditor")
    if as_json:
        decision = msgspec.to_builtins(verdict.decision)
        print_json({"decision": decision, "explanation": msgspec.to_builtins(explanation)})
    else:
        word = paint("allowed", "good") if verdict.decision.allowed else paint("denied", "bad")
        line = f"{request.principal.ref} {request.action.name} {request.resource.ref}"
        print(f"{word}: {printable(line)}")
        if verdict.decision.allowed:
            print(f"by {', '.join(verdict.decision.reasons)}")
        if text := explanation.text():
            print(printable(text))
        if verdict.shadow:
            print(f"shadow policies that apply, and bind nobody: {', '.join(verdict.shadow)}")
    if not verdict.decision.allowed:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="A folder, or a git commit.")],
    new: Annotated[str, typer.Argument(help="A folder, or a git commit.")] = ".",
    *,
    as_json: Json = False,
) -> None:
    """Compare two bundles: what changed, and whose decision with it.

    Every test of both bundles is decided by both. Exits with 1 where any of them is decided differently.
    """
    from everproof.policy import Engine

    before, after = bundles.load(old), bundles.load(new)
    was = {policy.id: policy for policy in before.policies}
    now = {policy.id: policy for policy in after.policies}
    changed = [id_ for id_ in was.keys() & now.keys() if _meaning(was[id_]) != _meaning(now[id_])]
    engines = Engine(before), Engine(after)
    trials = {trial.name: trial for trial in (*before.trials, *after.trials)}
    turned = []
    for trial in trials.values():
        first, second = (engine.decide(trial.request) for engine in engines)
        if first.decision.allowed != second.decision.allowed:
            turned.append((trial, second))
    if as_json:
        print_json(
            {"added": sorted(now.keys() - was.keys()), "removed": sorted(was.keys() - now.keys()),
             "changed": sorted(changed),
             "decisions": [{"test": trial.name, "place": trial.place, "allowed": verdict.decision.allowed}
                           for trial, verdict in turned]}
        )  # fmt: skip
    else:
        marks = [("+", "good", now.keys() - was.keys()), ("-", "bad", was.keys() - now.keys()), ("~", "warn", changed)]
        for mark, style, ids in marks:
            for id_ in sorted(ids):
                title = (now.get(id_) or was[id_]).title
                print(f"{paint(mark, style)} {id_}  {paint(printable(title), 'faint')}")  # type: ignore[arg-type]  # one of the three
        for trial, verdict in turned:
            word = paint("now allowed", "warn") if verdict.decision.allowed else paint("now denied ", "bad")
            print(f"{word}  {printable(trial.name)}")
        print(f"{_many(len(trials), 'test')} of both, {len(turned)} decided differently")
    if turned:
        raise typer.Exit(EXIT_FAILED)


app.command("replay")(policy_replay.replay)


app.command("apply")(policy_apply.apply)


def _complaint(trial: "Trial", verdict: "Verdict") -> str:
    """How the verdict differs from what the test expects; empty where it does not."""
    expected, found = ("allowed" if one else "denied" for one in (trial.allowed, verdict.decision.allowed))
    if expected != found:
        by = f" by {', '.join(verdict.decision.reasons)}" if verdict.decision.reasons else ""
        return f"expected {expected}, is {found}{by}"
    if trial.by and trial.by not in verdict.decision.reasons:
        by = ", ".join(verdict.decision.reasons) or "no policy"
        return f"expected {expected} by {trial.by}, is so by {by}"
    return ""


def _asked(bundle: "Bundle", what: list[str], context: list[str]) -> "Request":
    """The request of a test, or one made of what was typed and of what the tests describe."""
    import difflib

    from everproof.cli.values import pairs, ref, resource
    from everproof.kernel.words import MAIN_SPACE, Action, Principal, Resource
    from everproof.policy import Request

    if len(what) == 1:
        trials = {trial.name: trial.request for trial in bundle.trials}
        if what[0] not in trials:
            close = difflib.get_close_matches(what[0], trials, 1)
            todo = f"did you mean {close[0]!r}?" if close else "`everproof policy test --json` lists them"
            raise InputError(f"the bundle has no test {what[0]!r}", todo=todo)
        return trials[what[0]]
    if len(what) != 3:  # noqa: PLR2004 - who, what, to what
        raise InputError("give the name of a test, or PRINCIPAL ACTION RESOURCE", todo="quote a name that has blanks")
    known = {
        one.ref: one
        for trial in bundle.trials
        for one in (trial.request.principal, trial.request.resource, *trial.request.others)
    }
    who, target = ref(what[0], type_="User", place="PRINCIPAL"), resource(what[2], what[1])
    here, there = known.get(who), known.get(target)
    return Request(
        Principal(ref=who, attributes=here.attributes if here else {}, parents=here.parents if here else (MAIN_SPACE,)),
        Action(what[1]),
        Resource(
            ref=target, attributes=there.attributes if there else {}, parents=there.parents if there else (MAIN_SPACE,)
        ),
        pairs(context, option="--context"),
        tuple(one for name, one in known.items() if name not in (who, target)),
    )


def _meaning(policy: Any) -> Any:
    """What a policy does; how it is written does not count."""
    return policy.est, policy.shadow


def _many(count: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else plural}"


def _indented(text: str) -> str:
    return "\n".join(f"        {printable(line)}" for line in text.splitlines())
