"""Killing a process that works, at a moment that chance chooses."""

import multiprocessing
import random
import time

import msgspec

from tests.durability.load import Answered, Plan, work

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.durability.load", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"]
)

LONGEST_LIFE_SECONDS = 0.12
PATIENCE_SECONDS = 30.0


def kill_at_work(plan: Plan, chance: random.Random, *, at_start: bool = False) -> list[Answered]:
    """Start a process and kill it (-9), a moment after its first answer or while it starts; what it had answered."""
    reads, writes = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=work, args=(plan, writes), daemon=True)
    process.start()
    writes.close()
    life = chance.uniform(0, LONGEST_LIFE_SECONDS)
    deadline = time.monotonic() + (life if at_start else PATIENCE_SECONDS)
    answers: list[Answered] = []
    try:
        while reads.poll(max(0.0, deadline - time.monotonic())):
            answers.append(_receive(reads.recv_bytes()))
            if len(answers) == 1 and not at_start:
                deadline = time.monotonic() + life
    except EOFError as error:
        process.join()
        raise AssertionError(f"the process ended by itself, with {process.exitcode}") from error
    process.kill()
    try:
        while True:  # what it wrote into the pipe before it died was answered too
            answers.append(_receive(reads.recv_bytes()))
    except EOFError:
        pass
    process.join()
    reads.close()
    assert answers or at_start, "it never answered"
    return answers


def _receive(message: bytes) -> Answered:
    return msgspec.msgpack.decode(message, type=Answered)
