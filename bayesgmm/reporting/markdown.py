"""A page as Markdown: read back from the HTML that it is built as, so that the two never say different things.

Pictures become files in a folder beside, since few readers of Markdown show pictures that are inside the text. They are
named by what is in them and written before the text that refers to them, so that at every moment, also after a crash, a
text that is there has the pictures that it names. Everything that came from a user is escaped.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from bayesgmm.errors import ArgumentError
from bayesgmm.storage import replacing

__all__ = ["as_markdown", "write_markdown"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$])")
_PICTURE = re.compile(r"figure-[0-9a-f]{16}\.png")


@dataclass
class _Cell:
    text: str = ""
    is_number: bool = False


@dataclass
class _Table:
    rows: list[list[_Cell]] = field(default_factory=list)


def write_markdown(page: str, target: Path) -> Path:
    """Write a page as Markdown, with its pictures in the folder ``<name>_files`` beside.

    Parameters
    ----------
    page : str
        The page as HTML, made by this package.
    target : Path
        The file, ``.md``; one that is there already is replaced, and pictures that only it needed are removed.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ArgumentError
        When the folder for the pictures is there and holds something else.
    OSError
        When something cannot be written.
    """
    folder = target.with_name(f"{target.stem}_files")
    text, pictures = as_markdown(page, folder.name)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r} to write {target.name!r} to")
    before = _own_pictures(folder)
    if pictures:
        folder.mkdir(exist_ok=True)
    for name, content in pictures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for path in before:
        if path.name not in pictures:
            path.unlink()
    return target


def _own_pictures(folder: Path) -> list[Path]:
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise ArgumentError(f"the pictures would go into {str(folder)!r}, which is a file; choose another name")
    found = sorted(folder.iterdir())
    foreign = [path.name for path in found if not _PICTURE.fullmatch(path.name)]
    if foreign:
        raise ArgumentError(
            f"the pictures would go into {str(folder)!r}, which holds something else ({foreign[0]}); choose another "
            "name"
        )
    return found


def as_markdown(page: str, folder: str) -> tuple[str, dict[str, bytes]]:
    """Convert a page of this package to Markdown.

    Parameters
    ----------
    page : str
        The page as HTML.
    folder : str
        The folder of the pictures, relative to the text.

    Returns
    -------
    text : str
        The Markdown.
    pictures : dict of str to bytes
        PNG files by their names in the folder.
    """
    reader = _Reader(folder)
    reader.feed(page)
    reader.close()
    return "\n\n".join(block for block in reader.blocks if block.strip()) + "\n", reader.pictures


class _Reader(HTMLParser):
    """Walks over a page and collects its blocks."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder
        self.blocks: list[str] = []
        self.pictures: dict[str, bytes] = {}
        self.open: list[str] = []
        self.text = ""
        self.items: list[str] = []
        self.table: _Table | None = None

    # ---------------------------------------------------------------- what the parser calls

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        given = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._place(given)
            return
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "table":
            self.table = _Table()
        elif tag == "tr" and self.table is not None:
            self.table.rows.append([])
        elif tag in ("th", "td") and self.table is not None:
            self.table.rows[-1].append(_Cell(is_number=given.get("class") == "number"))
        elif tag == "strong":
            self.text += "**"
        elif "word" in given.get("class", "") and "li" in self.open:
            self.open[-1] = "word"
            self.text += "*"

    def handle_endtag(self, tag: str) -> None:
        """Close an element, and write down what it held."""
        tag = "word" if self.open.pop() == "word" else tag
        if tag in ("strong", "word", "span", "em"):
            # A word stands in a box on the page; here it is set apart by italics.
            self.text += {"strong": "**", "word": "* "}.get(tag, "")
            return
        content = " ".join(self.text.split())
        if self.table is not None:
            self._close_in_table(self.table, tag, content)
        elif tag in ("li", "dt", "dd"):
            self._close_item(tag, content)
        else:
            self._close_block(tag, content)
        self.text = self.text if tag == "code" else ""

    def _close_in_table(self, table: _Table, tag: str, content: str) -> None:
        if tag in ("th", "td"):
            table.rows[-1][-1].text = content
        elif tag == "table":
            self.blocks.append(_write_table(table))
            self.table = None

    def _close_item(self, tag: str, content: str) -> None:
        if tag == "dd":
            self.items[-1] += ": " + "; ".join(line.strip() for line in self.text.strip().splitlines())
        else:
            self.items.append(f"- **{content}**" if tag == "dt" else f"- {content}")

    def _close_block(self, tag: str, content: str) -> None:
        heading = {"h1": "#", "h2": "##", "h3": "###"}.get(tag)
        if heading:
            self.blocks.append(f"{heading} {content}")
        elif tag in ("ul", "dl"):
            self.blocks.append("\n".join(self.items))
            self.items = []
        elif tag == "pre":
            self.blocks.append(_fenced(self.text))
        elif tag in ("p", "figcaption") and content:
            self.blocks.append(f"*{content}*" if tag == "figcaption" else content)

    def handle_data(self, data: str) -> None:
        """Take up text; what is in a style or in the head is none."""
        if "style" in self.open or "title" in self.open:
            return
        self.text += data if "pre" in self.open else _SPECIAL.sub(r"\\\1", data)

    # ---------------------------------------------------------------- inner

    def _place(self, given: dict[str, str]) -> None:
        content = base64.b64decode(given["src"].partition(",")[2])
        name = f"figure-{hashlib.sha256(content).hexdigest()[:16]}.png"
        self.pictures[name] = content
        self.blocks.append(f"![{_SPECIAL.sub(r'\\\1', given.get('alt', ''))}]({self.folder}/{name})")


def _write_table(table: _Table) -> str:
    """Write a table with pipes; numbers are aligned right."""
    head, *rows = table.rows
    columns = rows[0] if rows else head
    rule = ["---:" if cell.is_number else ":---" for cell in columns]
    lines = [[cell.text for cell in head], rule, *([cell.text for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fenced(code: str) -> str:
    """Fence code with more backticks than it holds in a row."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{code.strip()}\n{fence}"
