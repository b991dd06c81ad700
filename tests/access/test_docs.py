"""What docs/people.md shows of requests and approvals is what happens."""

from scripts import docs

from tests.access.transcripts import record, shape


def test_transcripts_are_what_commands_say() -> None:
    written = docs.blocks_of((docs.ROOT / docs.PEOPLE).read_text(), ("developer", "approver"))
    for name, block in record().items():
        assert shape(written[name]) == shape(block), "run make docs"
