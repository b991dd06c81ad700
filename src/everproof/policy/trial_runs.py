"""Running the tests of a bundle, with the explanation of each that fails."""

import msgspec

from everproof.policy.engine import Engine, Verdict
from everproof.policy.explanation import Explanation
from everproof.policy.trials import Trial


class TrialRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one test. ``problem`` is empty where it passed; ``explanation`` is there where it failed."""

    name: str
    place: str
    passed: bool
    allowed: bool
    reasons: tuple[str, ...] = ()
    problem: str = ""
    explanation: Explanation | None = None

    def text(self) -> str:
        """The result for a terminal; of a failure, why."""
        if self.passed or self.explanation is None:
            return f"ok   {self.name}"
        why = "\n".join(f"       {line}" if line else "" for line in self.explanation.text().splitlines())
        return f"FAIL {self.name}\n     {self.place}: {self.problem}\n{why}"


def run_trials(engine: Engine) -> tuple[TrialRun, ...]:
    """Every test of the engine's bundle, in the order of its files."""
    return tuple(run_trial(engine, trial) for trial in engine.bundle.trials)


def run_trial(engine: Engine, trial: Trial) -> TrialRun:
    """One test."""
    verdict = engine.decide(trial.request)
    problem = _problem(trial, verdict)
    return TrialRun(
        name=trial.name,
        place=trial.place,
        passed=not problem,
        allowed=verdict.decision.allowed,
        reasons=verdict.decision.reasons,
        problem=problem,
        explanation=engine.explain(trial.request, verdict, "auditor") if problem else None,
    )


def _problem(trial: Trial, verdict: Verdict) -> str:
    decision = verdict.decision
    asked = f"{trial.request.principal.ref} {trial.request.action.name} {trial.request.resource.ref}"
    if decision.allowed != trial.allowed:
        wanted, came = ("allow", "denied") if trial.allowed else ("deny", "allowed")
        return f"expected {wanted}, but it is {came}: {asked}"
    if decision.errors and trial.allowed is False and trial.by is None and not decision.reasons:
        # A denial by mistake is no test of a policy.
        return f"denied only since it cannot be decided: {decision.errors[0]}"
    if trial.by is not None and trial.by not in decision.reasons:
        by = ", ".join(decision.reasons) or "nothing"
        return f"expected {trial.by!r} to decide it, but it is decided by {by}"
    return ""
