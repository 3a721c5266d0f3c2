"""Patterns made up from Go's grammar, each with texts near to what it matches; some are broken on purpose."""
# ruff: noqa: RUF001 (letters that are a case of another one are what this is about)

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

LETTERS = [
    "a", "b", "k", "s", "A", "K", "S", "Z", "0", "9", "_", "-", ".", " ", "\n", "\t", "\x0b", "é", "ß", "Σ", "ς", "σ",
    "ſ", "K", "İ", "ı", "Dž", "ǆ", "中", "😀", "٣", "ª", "\u2028", "\x85", "ﬁ", "ꭰ", "Ꭰ",
]  # fmt: skip
CLASSES = [
    r"\d", r"\D", r"\s", r"\S", r"\w", r"\W", r"\pL", r"\PL", r"\p{Lu}", r"\p{^Lu}", r"\P{^Ll}", r"\p{Greek}", r"\P{Han}",
    r"\p{Latin}", r"\pN", r"\p{Zs}", r"\p{Any}", r"\P{Any}", r"\p{ASCII}", r"\p{Cn}", r"\p{Assigned}", r"\p{letter}",
    r"\p{Uppercase_Letter}", r"\p{lc}", r"\p{Lt}", r"\pM", r"\pS", r"\pC", ".",
]  # fmt: skip
POSIX = [
    f"[:{sign}{name}:]"
    for sign in ("", "^")
    for name in (
        "alnum",
        "alpha",
        "ascii",
        "blank",
        "cntrl",
        "digit",
        "graph",
        "lower",
        "print",
        "punct",
        "space",
        "upper",
        "word",
        "xdigit",
    )
]
PLACES = ["^", "$", r"\A", r"\z", r"\b", r"\B"]
ESCAPES = [
    (r"\n", "\n"), (r"\t", "\t"), (r"\x41", "A"), (r"\x{3a3}", "Σ"), (r"\x{1F600}", "😀"), (r"\101", "A"),
    (r"\0", "\0"), (r"\.", "."), (r"\-", "-"), (r"\_", "_"), (r"\/", "/"), (r"\a", "\a"), (r"\v", "\v"),
    (r"\f", "\f"), (r"\r", "\r"), (r"\x7f", "\x7f"), (r"\60", "0"),
]  # fmt: skip
REPEATS = [
    "*", "+", "?", "*?", "+?", "??", "{2}", "{0}", "{1,}", "{0,2}", "{2,3}?", "{,3}", "{1,2", "{x}", "{}", "{01}",
]  # fmt: skip
OPENINGS = ["(", "(?:", "(?i:", "(?s:", "(?m:", "(?U:", "(?im:", "(?-i:", "(?i-s:", "(?ims-U:", "(?P<x>", "(?<y1>"]
FLAGS = ["(?i)", "(?-i)", "(?m)", "(?s)", "(?U)", "(?im-s)", "(?)", "(?-m)", "(?ii)"]
BROKEN = [
    "(", ")", "[", "]", "{", "}", "*", "+", "?", "|", "\\", "^", "$", "-", ":", "(?", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?P=x)",
    "(?P>x)", "(?#c)", "(?x)", "(?i", "(?-)", "(?i-)", "(?--i)", "(?P<", "(?<", "(?P<x", "(?<x y>", "(?<>", "(?P<é>a)", "(?'n'a)", "(?|",
    r"\1", r"\8", r"\Z", r"\C", r"\E", r"\Q", r"\G", r"\h", r"\R", r"\X", r"\K", r"\k<x>", r"\u0041", r"\x", r"\x4", r"\xg", r"\x{", r"\x{}",
    r"\x{110000}", r"\x{10FFFF}", r"\p", r"\pX", r"\p{", r"\p{}", r"\p{Foo}", r"\p{Old_Italic}", r"\p{^", r"\é", r"\N", r"\cA", r"\e", "++", "*+",
    "**", "{1001}", "{1000}", "{2,1}", "{999999999999}", "{1,1001}", "{1000}{2}", "[[:foo:]]", "[[:alpha]", "[a-\\d]", "[z-a]", "[a-", "[[.a.]]",
    "[[=a=]]", "[]", "[^]", "[]a]", "[\\", "[a&&b]", "[\\b]", "[\\Q]", "\\\n",
]  # fmt: skip


def random_row(source: random.Random) -> tuple[str, list[str]]:
    pattern, text = _choice(source, source.choice([1, 2, 2, 3, 3, 4]))
    if source.random() < 0.3:
        pattern = source.choice(FLAGS) + pattern
    for _ in range(source.choice([0, 0, 0, 1, 1, 2])):
        at = source.randrange(len(pattern) + 1)
        if source.random() < 0.3 and pattern:
            pattern = pattern[:at] + pattern[at + 1 :]
        else:
            pattern = pattern[:at] + source.choice(BROKEN) + pattern[at:]
    texts = [text, "", pattern[:30]]
    for _ in range(5):
        letters = list(text)
        for _ in range(source.choice([1, 1, 2, 4])):
            at = source.randrange(len(letters) + 1)
            match source.randrange(4):
                case 0:
                    letters.insert(at, source.choice(LETTERS))
                case 1:
                    letters[at : at + 1] = [source.choice(LETTERS)]
                case 2:
                    letters[at : at + 1] = []
                case _:
                    letters[at : at + 1] = [letter.swapcase() for letter in letters[at : at + 1]]
        texts.append("".join(letters))
    return pattern, texts


def _choice(source: random.Random, depth: int) -> tuple[str, str]:
    options = [_sequence(source, depth) for _ in range(source.choice([1, 1, 1, 2, 3]))]
    return "|".join(pattern for pattern, _ in options), source.choice(options)[1]


def _sequence(source: random.Random, depth: int) -> tuple[str, str]:
    parts = [_repeated(source, depth) for _ in range(source.choice([0, 1, 1, 2, 3, 4]))]
    return "".join(pattern for pattern, _ in parts), "".join(text for _, text in parts)


def _repeated(source: random.Random, depth: int) -> tuple[str, str]:
    pattern, text = _atom(source, depth)
    if source.random() < 0.3:
        return pattern + source.choice(REPEATS), text * source.choice([0, 1, 1, 2, 3])
    return pattern, text


def _atom(source: random.Random, depth: int) -> tuple[str, str]:
    kind = source.random()
    letter = source.choice(LETTERS)
    if kind < 0.3 or depth == 0:
        return ("\\" + letter if letter in ".-" else letter), letter
    if kind < 0.4:
        return source.choice(CLASSES), letter
    if kind < 0.5:
        return source.choice(ESCAPES)
    if kind < 0.6:
        return source.choice(PLACES), source.choice(["", "", "\n", " "])
    if kind < 0.65:
        return source.choice(FLAGS), ""
    if kind < 0.7:
        return rf"\Q{letter}.*{letter}\E", f"{letter}.*{letter}"
    if kind < 0.85:
        return _class(source)
    inner, text = _choice(source, depth - 1)
    return source.choice(OPENINGS) + inner + ")", text


def _class(source: random.Random) -> tuple[str, str]:
    members: list[str] = []
    text = source.choice(LETTERS)
    for _ in range(source.choice([1, 1, 2, 3])):
        match source.randrange(6):
            case 0:
                members.append(source.choice(CLASSES))
            case 1:
                members.append(source.choice(POSIX))
            case 2:
                low, high = sorted(source.sample(LETTERS, 2))
                members.append(f"{low}-{high}")
            case 3:
                members.append(source.choice(ESCAPES)[0])
            case _:
                text = source.choice(LETTERS)
                members.append(text)
    return "[" + source.choice(["", "", "^"]) + source.choice(["", "", "", "]", "-"]) + "".join(
        members
    ) + source.choice(["", "", "-"]) + "]", text
