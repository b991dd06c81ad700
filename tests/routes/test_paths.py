import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.routes import AmbiguousPathError, read_target

PLAIN = {
    "/": ("/", ("",)),
    "/a": ("/a", ("a",)),
    "/a/": ("/a/", ("a", "")),
    "/a/b?x=1&y=%2e%2e": ("/a/b", ("a", "b")),
    "/a%20b": ("/a b", ("a b",)),
    "/caf%C3%A9": ("/café", ("café",)),
    "/caf%c3%a9": ("/café", ("café",)),
    "/me%40example.com": ("/me@example.com", ("me@example.com",)),
    "/~me/-._!$&'()*+,=:@": ("/~me/-._!$&'()*+,=:@", ("~me", "-._!$&'()*+,=:@")),
    "/...a/b..": ("/...a/b..", ("...a", "b..")),
}

TRICKS = {
    "dot segments": ["/public/../admin", "/./admin", "/a/..", "/a/.", "/.."],
    "escaped dot segments": ["/public/%2e%2e/admin", "/%2E/admin", "/.%2e/admin", "/a/%2e."],
    "dots and spaces": ["/public/.../admin", "/a/..%20/b", "/a/.%20", "/%20/admin"],
    "escaped slash": ["/public%2Fadmin", "/public%2fadmin", "/..%2fadmin"],
    "twice escaped": ["/public/%252e%252e/admin", "/%25%32%65", "/a%2525"],
    "two slashes": ["//admin", "/a//b", "/a///", "//evil.example/admin"],
    "parameters": ["/public;/../admin", "/admin;x=1", "/..;/admin", "/admin%3Bx=1"],
    "backslash": ["/public\\..\\admin", "\\admin", "/a%5C..%5Cadmin", "/a%5cb"],
    "zero byte": ["/admin%00", "/admin%00.png", "/admin\0", "/%00"],
    "control characters": ["/admin%0a", "/admin%0d%0aX:y", "/admin%09", "/admin\t", "/a%7f"],
    "not UTF-8": ["/%ff", "/%c3", "/a%80b", "/%ed%a0%80"],
    "overlong UTF-8": ["/%c0%ae%c0%ae/admin", "/%c0%afadmin", "/%e0%80%af", "/%f0%80%80%af"],
    "another spelling": ["/%61dmin", "/admi%6E", "/%7Euser", "/%2Dx"],
    "plainer form": ["/%EF%BC%8E%EF%BC%8E/admin", "/%EF%BC%8Fadmin", "/cafe%CC%81", "/%E2%84%AA"],
    "invisible": ["/adm%E2%80%8Bin", "/%E2%80%AEnimda", "/a%C2%A0b", "/%EF%BB%BFadmin", "/a%C2%AD"],
    "raw bytes": ["/caf\xe9", "/\xc0\xae", "/a b", '/a"b', "/a<b>", "/a|b", "/a^b", "/a`b", "/a{b}", "/a[b]"],
    "no escape": ["/%", "/%2", "/a%zz", "/%u002e%u002e/admin", "/%%32%65", "/a%-1", "/% 2"],
    "another form": ["http://evil.example/admin", "https://wiki.example/", "*", "", "admin", "?x", "evil.example:443"],
    "fragment": ["/public#/../admin", "/admin#", "/a?b#c", "/a%23b"],
    "overlong": ["/" + "a" * 9000, "/" + "a/" * 70, "/a?" + "b" * 9000],
    "method in the query": ["/a?_method=DELETE", "/a?x=1&_METHOD=PUT", "/a?%5fmethod=DELETE", "/a?x=1;_method=PUT"],
    "query": ["/a?b c", "/a?\x00", "/a?\xff", "/a?b\nc"],
}


@pytest.mark.parametrize("target", PLAIN)
def test_a_plain_path_is_what_it_says(target: str) -> None:
    read = read_target(target)
    assert (read.path, read.segments) == PLAIN[target]


@pytest.mark.parametrize(("trick", "target"), [(name, one) for name, all_ in TRICKS.items() for one in all_])
def test_a_path_with_two_readings_is_refused(trick: str, target: str) -> None:
    with pytest.raises(AmbiguousPathError) as caught:
        read_target(target)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_whatever_is_read_has_one_spelling(text: str) -> None:
    try:
        read = read_target("/" + text)
    except AmbiguousPathError:
        return
    assert "//" not in read.path
    assert not {".", ".."} & set(read.segments)
    assert read.path.isprintable()
    assert not set("\\;%?#\0") & set(read.path)
    assert read.path == "/" + "/".join(read.segments)


def test_reading_takes_time_linear_in_the_length() -> None:
    started = time.perf_counter()
    for hostile in ("/" + "%2" * 4000, "/" + "a%20" * 2000, "/a" * 4000, "/" + "%C3%A9" * 1300, "/?" + "&" * 8000):
        for _ in range(20):
            try:
                read_target(hostile)
            except AmbiguousPathError:
                continue
    assert time.perf_counter() - started < 2
