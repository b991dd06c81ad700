"""Policy as code: bundles of Cedar, the engine that decides by them, and why it decided so. Pure."""

from everproof.policy.bundle import Bundle, Policy, load_bundle
from everproof.policy.diff import BundleDiff, diff
from everproof.policy.engine import Engine, Failure, Verdict
from everproof.policy.errors import BundleError
from everproof.policy.explanation import Audience, Condition, Explanation, PolicyWhy
from everproof.policy.request import Request
from everproof.policy.starter import starter_bundle, starter_files
from everproof.policy.trial_runs import TrialRun, run_trials
from everproof.policy.trials import Trial

__all__ = [
    "Audience",
    "Bundle",
    "BundleDiff",
    "BundleError",
    "Condition",
    "Engine",
    "Explanation",
    "Failure",
    "Policy",
    "PolicyWhy",
    "Request",
    "Trial",
    "TrialRun",
    "Verdict",
    "diff",
    "load_bundle",
    "run_trials",
    "starter_bundle",
    "starter_files",
]
