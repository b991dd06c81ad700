"""One step: proves the job, asks for the stage, runs the command, ends all that it left, and says how it ended."""

import gc
import hashlib
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from everproof.cli.step import shield
from everproof.cli.step.descendants import kill_all, reap
from everproof.cli.step.environment import SESSION, STAGE, scrubbed
from everproof.cli.step.options import Options
from everproof.cli.step.prove import Job, find
from everproof.cli.step.session import StepSession
from everproof.cli.step.watch import Watch
from everproof.cli.step.wire import Key
from everproof.kernel.errors import Error, RefusedError

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
SIGNALLED: Final = 128
FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
END_TRIES: Final = 3
FIRST_FD: Final = 3
WHY: Final = {
    "revoked": "the stage's credential was revoked",
    "expired": "the stage's credential has expired, and no other was given",
    "unreachable": "the server could not be reached for longer than --grace allows",
    "timeout": "it took longer than --timeout allows",
}


def run(options: Options) -> int:
    """Run one step; its exit status, 128 and a signal's number where one ended it.

    Raises:
        Error: it was not begun: what is wrong, or why it is refused.
    """
    shield.require_linux()
    inherited = shield.hide()
    shield.adopt()
    job, variable = find(
        inherited, proof=options.proof, server=options.server, ca=options.ca, audience=options.audience
    )
    environment = scrubbed(inherited, options.env, proof=variable)
    key = Key()
    begun = job.request("POST", "/v1/runs", body=_asked(options), key_proof=key)
    session = StepSession(job.wire.server, job.ca, key, inherited)
    try:
        session.keep(begun)
        environment |= {SESSION: session.file, STAGE: options.stage}
        watch = Watch(job, key, begun, grace=options.grace, lifetime=options.lifetime)
        status, result = _run(options, environment, watch, session)
    finally:
        session.remove()
    _tell_end(job, begun["id"], result)
    return status


def _run(
    options: Options, environment: Mapping[str, str], watch: Watch, session: StepSession
) -> tuple[int, dict[str, Any]]:
    """The exit status to give on, and what to tell of how it ended."""
    started = time.monotonic()
    waked, wake = os.pipe()
    os.set_blocking(waked, False)
    os.set_blocking(wake, False)
    received: list[int] = []
    for number in FORWARDED:
        signal.signal(number, lambda number, _frame: received.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    child = _start(options.command, environment)
    gc.enable()
    watch.start(session.keep, wake)
    until = started + options.timeout if options.timeout else float("inf")
    killed, ended = "", None
    while ended is None and not killed:
        now = time.monotonic()
        if watch.over:
            killed = watch.over
        elif now >= until:
            killed = "timeout"
        elif now >= watch.expires:
            killed = "expired"
        else:
            select.select([waked], [], [], min(until, watch.expires) - now)
            with suppress(BlockingIOError):
                os.read(waked, 4096)
            while received:
                with suppress(ProcessLookupError):
                    os.killpg(child, received.pop(0))
            ended = reap().get(child)
    survivors = kill_all()
    watch.stop()
    if killed:
        print(f"everproof: the step was killed: {WHY[killed]}", file=sys.stderr)
    status, how = (SIGNALLED + signal.SIGKILL, {"signal": int(signal.SIGKILL)}) if ended is None else _how(ended)
    spent = int((time.monotonic() - started) * 1000)
    return status, {**how, "milliseconds": spent, "killed": killed, "survivors": survivors}


def _start(command: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """The pid of the command, in a process group of its own, with three open files and nothing of ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)
            _give_terminal(pid)
        return pid
    try:
        shield.die_with_parent(signal.SIGKILL)
        os.setpgid(0, 0)
        _give_terminal(os.getpid())
        signal.set_wakeup_fd(-1)
        for number in (*FORWARDED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(FIRST_FD, 2**31 - 1)
        if os.getppid() == parent:
            os.execvpe(command[0], command, dict(environment))  # noqa: S606 - the words as they were given
    except FileNotFoundError:
        os.write(2, f"everproof: {command[0]}: not found\n".encode())
        os._exit(NOT_FOUND)
    except OSError as error:
        os.write(2, f"everproof: {command[0]}: {error.strerror}\n".encode())
        os._exit(NOT_EXECUTABLE)
    finally:
        os._exit(SIGNALLED - 1)


def _give_terminal(group: int) -> None:
    """Let the command read from the terminal, where there is one, and be the one that Ctrl-C reaches."""
    if os.isatty(0):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError):
            os.tcsetpgrp(0, group)


def _how(status: int) -> tuple[int, dict[str, Any]]:
    code = os.waitstatus_to_exitcode(status)
    return (SIGNALLED - code, {"signal": -code}) if code < 0 else (code, {"exit_status": code})


def _asked(options: Options) -> dict[str, Any]:
    digest = hashlib.sha256(b"".join(os.fsencode(word) + b"\0" for word in options.command))
    command: dict[str, Any] = {"program": options.command[0][:512], "digest": digest.hexdigest()}
    if options.record_arguments:
        command["arguments"] = list(options.command[1:])
    body: dict[str, Any] = {"stage": options.stage, "command": command}
    if options.on:
        type_, _, id_ = options.on.rpartition("::")
        body["on"] = {"type": type_ or "Repository", "id": id_.strip('"')}
    if options.lifetime:
        body["lifetime_seconds"] = options.lifetime
    return body


def _tell_end(job: Job, run_id: str, result: dict[str, Any]) -> None:
    """Tell the server how it ended, which ends its credentials; untold, they end by their time alone, and it shows."""
    for left in range(END_TRIES - 1, -1, -1):
        try:
            job.request("POST", f"/v1/runs/{run_id}/end", body=result)
        except Error as error:
            if not left or isinstance(error, RefusedError):
                print(f"everproof: how {run_id} ended was not recorded: {error}", file=sys.stderr)
                return
            time.sleep(0.2)
        else:
            return
