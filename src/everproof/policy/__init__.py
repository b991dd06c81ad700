"""Policy as code: bundles of Cedar, the engine that decides by them, and why it decided so. Pure."""

from everproof.policy.bundle import Bundle, Policy, load_bundle
from everproof.policy.engine import Engine, Failure, Verdict
from everproof.policy.errors import BundleError
from everproof.policy.explanation import Audience, Explanation
from everproof.policy.request import Request
from everproof.policy.starter import starter_bundle, starter_files
from everproof.policy.trials import Trial

__all__ = [
    "Audience",
    "Bundle",
    "BundleError",
    "Engine",
    "Explanation",
    "Failure",
    "Policy",
    "Request",
    "Trial",
    "Verdict",
    "load_bundle",
    "starter_bundle",
    "starter_files",
]
