import pytest

from everproof.cli.checkup import LOOKS
from everproof.kernel.errors import ConflictError
from everproof.kernel.settings import Settings
from everproof.work import HopelessError, Task
from tests.work.conftest import House


async def test_doctor_tells_of_what_is_stuck(house: House) -> None:
    async def fail(_task: Task) -> None:
        raise HopelessError("there is nobody there")

    look, settings = LOOKS["work"], Settings(state=house.folder)
    house.work.register("call", fail)
    async with house.running() as work:
        assert look(settings) == "1 jobs wait for their time, none is stuck"
        await house.storage.write(lambda tx: work.enqueue(tx, "call", None))
        await work.idle()
        with pytest.raises(ConflictError, match="1 job is stuck"):
            look(settings)
