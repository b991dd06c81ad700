from everproof.cli.checkup import checkup
from everproof.kernel.settings import Settings
from everproof.work import HopelessError, Task
from tests.work.conftest import House


async def test_doctor_tells_of_what_is_stuck(house: House) -> None:
    async def fail(_task: Task) -> None:
        raise HopelessError("there is nobody there")

    def told() -> tuple[str, str]:
        [found] = [one for one in checkup(Settings(state=house.folder)) if one.name == "work"]
        return found.state, found.what

    house.work.register("call", fail)
    async with house.running() as work:
        assert told() == ("ok", "1 jobs wait for their time, none is stuck")
        await house.storage.write(lambda tx: work.enqueue(tx, "call", None))
        await work.idle()
        assert told() == ("problem", "1 job is stuck")
