from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.apiserver import StatusError
from pyoperator.apiserver._continue_token import ContinueToken

NAMES = st.from_regex(r"[a-z]([a-z0-9.-]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.integers(1, 2**63 - 1), NAMES, NAMES)
def test_tokens_come_back_as_they_were(version: int, namespace: str, name: str) -> None:
    for inside, key in ((namespace, f"{namespace}/{name}"), ("", f"{namespace}/{name}"), ("", name)):
        token = ContinueToken(version, key)
        assert ContinueToken.parse(token.encode(inside), inside) == token
        assert ContinueToken.parse(token.without_version(inside), inside) == ContinueToken(-1, key)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["v", "rv", "start"]), inner),
    max_leaves=6,
)


@given(st.text() | JSON.map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()))
def test_whatever_comes_is_a_token_or_a_bad_request(text: str) -> None:
    failure: StatusError | None = None
    try:
        ContinueToken.parse(text, "default")
    except StatusError as error:
        failure = error
    if failure is not None:
        assert failure.code == 400
        assert failure.message.startswith("invalid continue token: continue key is not valid: ")


@pytest.mark.parametrize("start", ["/../x", "a/../b", "..", "//x", "a//b", "./a", "/"])
def test_no_token_leads_out_of_what_is_listed(start: str) -> None:
    document = {"v": "meta.k8s.io/v1", "rv": 5, "start": start}
    text = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
    with pytest.raises(StatusError, match="continue key is not valid"):
        ContinueToken.parse(text, "default")
