"""What README and the pages of `docs` tell their readers to run."""

import ast
import functools
import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")))
# An indented block has no language: what starts with one of these is commands.
_PROGRAMS = {
    *("cd", "conda", "curl", "docker", "export", "gcloud", "git", "kubectl", "logocap"),
    *("make", "mpirun", "pip", "python", "source", "srun", "torchrun", "uv", "wget"),
}
_OPTIONAL = re.compile(r"(?<!\S)\[|\](?!\S)")  # brackets around what may be left out


class Block(NamedTuple):
    """A piece of a page: `sh`, `python`, or an `inline` span of code."""

    page: str
    line: int
    language: str
    content: str


class Command(NamedTuple):
    """A command without comments and settings of the environment."""

    place: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)


@functools.cache
def blocks(page: str) -> tuple[Block, ...]:
    """All that may be run, in the page's order."""
    markdown = MarkdownIt("commonmark").enable("table")
    found = []
    for token in markdown.parse((ROOT / page).read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            found.append(Block(page, line, token.info, token.content))
        elif token.type == "code_block":
            language = _guessed_language(token.content)
            found.append(Block(page, line, language, token.content))
        for part in token.children or ():
            if part.type == "code_inline":
                found.append(Block(page, line, "inline", part.content))
    return tuple(found)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block of language `sh`, or of an inline span."""
    for line in block.content.replace("\\\n", " ").splitlines():
        words = shlex.split(_OPTIONAL.sub("", line), comments=True)
        while words and words[0].partition("=")[0].isupper() and "=" in words[0]:
            del words[0]
        if words:
            yield Command(f"{block.page}:{block.line}", tuple(words))


def _guessed_language(text: str) -> str:
    if text.split()[0] in _PROGRAMS:
        return "sh"
    try:
        ast.parse(text)
    except SyntaxError:
        return "text"
    return "python"
