from hypothesis import given
from hypothesis import strategies as st

from everproof.kernel.ids import is_id, new_id


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_ids_of_different_milliseconds_sort_by_time(one: int, other: int) -> None:
    first, second = new_id("cred", milliseconds=one), new_id("cred", milliseconds=other)
    if one != other:
        assert (first < second) == (one < other)


def test_an_id_has_its_prefix_and_form_and_no_twin() -> None:
    made = {new_id("ent") for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(is_id(one, "ent") for one in made)
    assert not any(is_id(one, "cred") for one in made)
    assert not is_id("ent_" + "0" * 32, "ent")
