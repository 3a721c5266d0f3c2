"""The pages of the documentation and what is in them: code blocks with their markers, headings, links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

# Written and tested elsewhere (tests of the lab run the lab's commands); their links are checked here all the same.
ELSEWHERE = frozenset({"docs/lab.md", "docs/dependencies.md", "docs/sizing.md"})

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- (?P<mark>[^>]*?) -->\s*\Z")


class Block(NamedTuple):
    """A fenced block; ``mark`` is the comment right before it, such as ``program`` or ``file: website.py``."""

    page: str
    line: int
    language: str
    mark: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return the Markdown files of docs/, sorted."""
    return sorted(DOCS.rglob("*.md"))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text, 0, match.start())
        found.append(
            Block(
                name_of(page),
                text.count("\n", 0, match.start()) + 1,
                match["language"],
                mark["mark"] if mark is not None else "",
                match["code"],
            )
        )
    return found


def own_blocks(*languages: str) -> list[Block]:
    """Return the blocks in some languages of the pages that are tested here."""
    return [
        block
        for page in pages()
        if name_of(page) not in ELSEWHERE
        for block in blocks(page)
        if block.language in languages
    ]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", _FENCE.sub("", page.read_text("utf-8")), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*?)\s*$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        unique = slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def links(page: Path) -> list[str]:
    """Return the targets of a page's links, in order."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)
