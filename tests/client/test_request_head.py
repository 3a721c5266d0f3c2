from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pyoperator.client._request_head import RequestHeads

HEADS = RequestHeads(URL("https://10.0.0.1:6443"), None)


def test_a_whole_head() -> None:
    query = [("labelSelector", "a in (b,c)"), ("x", "é&=")]
    head = HEADS.render("PATCH", "/api/v1/a b", query, [("accept", "x/y"), ("impersonate-group", "é")], b"{}")
    assert head.decode() == (
        "PATCH /api/v1/a%20b?labelSelector=a+in+%28b%2Cc%29&x=%C3%A9%26%3D HTTP/1.1\r\n"
        "accept: x/y\r\nimpersonate-group: é\r\ncontent-length: 2\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", None, None), ("HEAD", None, None), ("GET", b"", "0"), ("DELETE", None, "0"), ("POST", b"{}", "2")],
)
def test_the_length_is_told_wherever_a_body_might_be(method: str, body: bytes | None, length: str | None) -> None:
    lines = HEADS.render(method, "/x", (), (), body).decode().split("\r\n")
    assert lines == [f"{method} /x HTTP/1.1", *([f"content-length: {length}"] if length else []), "", ""]


@pytest.mark.parametrize(
    ("server", "proxy", "line", "headers"),
    [
        ("https://a.example", None, "GET /x HTTP/1.1", {"host": "a.example"}),
        ("https://a.example:6443/k8s/c-1/", None, "GET /k8s/c-1/x HTTP/1.1", {"host": "a.example:6443"}),
        ("https://[fd00::1]:6443", None, "GET /x HTTP/1.1", {"host": "[fd00::1]:6443"}),
        ("https://a:b@h", None, "GET /x HTTP/1.1", {"host": "h", "authorization": "Basic YTpi"}),
        ("https://h", "http://a:b@p:8080", "GET /x HTTP/1.1", {"host": "h"}),
        ("http://h:80/base", "http://p", "GET http://h/base/x HTTP/1.1", {"host": "h"}),
        (
            "http://h:8001",
            "http://a:b@p",
            "GET http://h:8001/x HTTP/1.1",
            {"host": "h:8001", "proxy-authorization": "Basic YTpi"},
        ),
    ],
)
def test_what_the_addresses_ask_for(server: str, proxy: str | None, line: str, headers: dict[str, str]) -> None:
    heads = RequestHeads(URL(server), URL(proxy) if proxy else None)
    assert heads.headers == headers
    assert heads.render("GET", "/x", (), (), None).decode() == f"{line}\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "header", "culprit"),
    [
        ("GET", ("authorization", "Bearer s3cret\r\nx: y"), "the header 'authorization'"),
        ("GET", ("x", "s3cret\n"), "the header 'x'"),
        ("GET", ("x", "s3cret\0"), "the header 'x'"),
        ("GET", ("x\ry", "s3cret"), r"the header 'x\\ry'"),
        ("GET /y HTTP/1.1\r\nx:", ("x", "s3cret"), "the method"),
    ],
)
def test_nothing_can_be_smuggled_in(method: str, header: tuple[str, str], culprit: str) -> None:
    with pytest.raises(ValueError, match=culprit) as caught:
        HEADS.render(method, "/x", (), [("a", "b"), header], None)
    assert "s3cret" not in str(caught.value)


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3), st.text(), st.text())
def test_whatever_is_given_a_head_has_its_lines_and_no_more(
    path: str, query: list[tuple[str, str]], name: str, value: str
) -> None:
    unclean = any(character in name + value for character in "\r\n\0") or not _encodable(path, query, name, value)
    try:
        head = HEADS.render("GET", path, query, [(name, value)], None)
    except ValueError:
        assert unclean
    else:
        assert not unclean
        assert head.endswith(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        assert len(lines) == 2
        assert lines[0].count(b" ") == 2


def _encodable(path: str, query: list[tuple[str, str]], name: str, value: str) -> bool:
    try:
        "".join([path, name, value, *(part for pair in query for part in pair)]).encode()
    except UnicodeEncodeError:
        return False
    return True
