from tests.client.conftest import World

ORDERS = "Route::orders"


def test_yes_and_no(world: World) -> None:
    with world.client() as client:
        yes = client.evaluate("User::alice", "api:call", ORDERS)
        assert yes.allowed
        assert yes
        assert yes.receipt is not None
        assert yes.cache_seconds > 0
        no = client.evaluate("User::bob", "api:call", ORDERS)
        assert not no.allowed
        assert not no
        assert no.todo == "ask for the group staff"
        assert no.explanation["near"]
