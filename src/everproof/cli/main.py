"""`everproof`: finds the family of a command and imports only that, so that help, hooks and steps start at once."""

import sys
from typing import Any, Final

FAMILIES: Final = {
    "up": "Start the server; the first time, set everything up.",
    "init": "Write an observing .everproof/ for this repository.",
    "doctor": "Look for what is wrong, and say how to mend it.",
    "login": "Prove who you are with the SSH key you sign commits with.",
    "open": "Open the pages in a browser, signed in as you.",
    "sessions": "See where you are signed in, and sign out.",
    "step-up": "Show a second factor in your session.",
    "factors": "Your passkeys, apps and recovery codes; recover what is lost.",
    "run": "Run a pipeline's step with a credential for its stage.",
    "ask": "Ask whether something would be allowed, and why not.",
    "request": "Ask for access for a while.",
    "requests": "Requests for access: list, show, take back.",
    "approve": "Approve a request for access.",
    "refuse": "Refuse a request for access.",
    "grants": "Grants: list, take back.",
    "incident": "Incidents: open, close, list.",
    "break-glass": "Open what two people together may in an emergency.",
    "policy": "Check, test, explain, compare and apply policies.",
    "git": "Stand before git repositories: hook, SSH command, set-up.",
    "identity": "People, keys, services, machines, lineage.",
    "people": "Joiners, movers, leavers; what people.toml would change.",
    "memberships": "Who is in organisations at GitHub and GitLab, and should be.",
    "revoke": "End a credential or key, and all that descends from it.",
    "contain": "End whatever descends from a credential or principal.",
    "work": "Jobs and effects: see, retry, cancel, approve, undo.",
    "ledger": "Verify, prove, follow and export the record of everything.",
}
"""Every command family with its line of help: `everproof --help` imports none of them."""

EXIT_FAILED: Final = 1
"""The answer is no: denied, a test failed, a verification found something."""

EXIT_USAGE: Final = 2
"""There is no answer: called wrongly, given what cannot be read, or nobody there to give one."""

NO: Final = frozenset(
    {"refused", "unauthenticated", "proof-refused", "signature-refused", "ledger-changed", "rollback"}
)
"""The codes of the errors that are an answer, and the answer is no."""


def main() -> None:
    """Run the command line; an error of ours is one sentence, its place, and what to do."""
    from everproof.kernel.errors import Error

    try:
        _run()
    except Error as error:
        _complain(error)
        raise SystemExit(EXIT_FAILED if error.code in NO else EXIT_USAGE) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run() -> None:
    if sys.argv[1:2] == ["run"]:  # it is waited for by every step of every pipeline
        import gc
        import os

        gc.disable()  # what is loaded now stays, so looking for garbage in it only costs
        from everproof.cli.step.options import read

        if (options := read(sys.argv[2:])) is not None:
            from everproof.cli.step.step import run

            status = run(options)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # nothing is left to be done, and taking the interpreter apart takes as long as a request
        gc.enable()
    from everproof.cli.families import app

    app(prog_name="everproof")


def __getattr__(name: str) -> Any:
    """``app``, the command line as Typer knows it, for those who look into it."""
    if name != "app":
        raise AttributeError(name)
    from everproof.cli.families import app

    return app


def _complain(error: Any) -> None:
    from everproof.cli.terminal import paint, printable

    for one in (error, *getattr(error, "further", ())):
        print(f"{paint('everproof:', 'bad', sys.stderr)} {printable(one)}", file=sys.stderr)
        if one.todo:
            print(f"  → {printable(one.todo)}", file=sys.stderr)


if __name__ == "__main__":
    main()
