"""Whoever searches the guide on troubleshooting for the text of an error or a warning finds it."""

from __future__ import annotations

import re

import pytest

from tests.docs.messages import Message, error_classes, messages
from tests.docs.pages import DOCS

# What names an error in the document is enough when its text is nothing but what varies.
_LETTERS = 8


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(name="text", scope="module")
def _text() -> str:
    return squeezed((DOCS / "troubleshooting.md").read_text("utf-8"))


def test_every_message_can_be_found(text: str) -> None:
    missing = [
        f"{message.where} {message.source}: {message.template}" for message in messages() if not is_found(message, text)
    ]
    assert not missing, "explain in docs/troubleshooting.md:\n" + "\n".join(missing)


def is_found(message: Message, text: str) -> bool:
    beginning = squeezed(message.beginning)
    if len(re.sub(r"\W", "", beginning)) < _LETTERS:
        return message.source in text
    # Up to the first sign that parts the statement from its explanation: what people search for.
    short = re.split(r"; |: |, (?=[a-z])| \(|, '|\[", beginning)[0].strip(" :;,(")
    return (short if len(short) >= _LETTERS else beginning) in text


def test_every_error_class_is_named(text: str) -> None:
    inner = {"Silent", "SyntaxFault", "Unreadable", "TransportError", "SimulationError"}
    assert {name for name in error_classes() - inner if f"`{name}`" not in text} == set()


def test_messages_are_collected() -> None:
    found = messages()
    assert len(found) > 150
    assert {message.source for message in found} >= {"log", "ManagerError", "ConfigurationError", "LeadershipLost"}


def test_a_new_message_is_missed(text: str) -> None:
    assert not is_found(Message("ManagerError", "the moon is in the way of …: wait", "x.py:1"), text)
    assert is_found(Message("ManagerError", "… can't be run: give an object", "x.py:1"), text)
