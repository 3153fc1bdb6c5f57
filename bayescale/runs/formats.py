"""Formats: from a file to a frame of cells, with what was understood of the file.

CSV with any usual separator and encoding, JSON, JSON Lines, Parquet, Feather and Excel, also compressed. What a file
holds is read from its first bytes, so that a wrong suffix does no harm. Nothing is guessed by statistics: each rule is
written here, and a file that two rules could read is refused.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bayescale.core.errors import BayescaleError, RunsError
from bayescale.core.files import kind_of
from bayescale.runs import arrow, excel, nested
from bayescale.runs.decimals import is_number, with_points
from bayescale.runs.limits import check_cells, check_shape

Refuse = Callable[..., BayescaleError]
"""Makes the error to raise from ``expected``, ``got`` and ``hint``."""

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".feather", ".xlsx", ".gz", ".bz2",
            ".xz")  # fmt: skip
"""Suffixes of files of runs. Such a source is a path, never the name of a built-in table."""

EXPECTED = "a CSV, TSV, JSON, Excel or Parquet file"

_PACKED: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open), b"BZh": ("bzip2", bz2.open), b"\xfd7zXZ\x00": ("xz", lzma.open)
}  # fmt: skip
_MOST_BYTES = 1 << 30  # of a table as text: ten million runs
_PARQUET, _EXCEL, _FEATHER, _OLD_EXCEL, _HDF5 = b"PAR1", b"PK\x03\x04", b"ARROW1", b"\xd0\xcf\x11\xe0", b"\x89HDF"
_SUFFIX_OF = {".parquet": _PARQUET, ".pq": _PARQUET, ".xlsx": _EXCEL, ".feather": _FEATHER}
_LOST = {_OLD_EXCEL: ("an old Excel file (.xls)", "save it as .xlsx or as CSV"),
         _HDF5: ("an HDF5 file, such as a fit", "name the table of runs")}  # fmt: skip
_MARKS = {b"\xef\xbb\xbf": ("utf-8-sig", ""), b"\xff\xfe": ("utf-16", "UTF-16"), b"\xfe\xff": ("utf-16", "UTF-16")}
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
# Where a comma may be a decimal mark, columns are separated by something else; Excel writes tabs in every country.
_DOUBTFUL = {"columns separated by semicolons": ".,", "columns separated by tabs": ","}
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_CSV_FAULTS = {
    "unexpected end of data": "a quote that is never closed",
    "field larger than": f"a cell of more than {csv.field_size_limit():,} characters",
}
_FORMULA = re.compile(r'="(.*)"')


class Table(NamedTuple):
    """A table as a file has it: its cells, and in words what was understood of the file.

    The index of the frame holds the number of each row, for messages.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_table(path: Path, refuse: Refuse, decimal: str | None = None) -> Table:
    """Read a file.

    Parameters
    ----------
    path : Path
    refuse : callable
    decimal : {".", ","}, optional
        What separates decimals in text; by default, it is read off the cells.

    Returns
    -------
    Table
        Rows of text files and of Excel are numbered as lines, other rows from 0.

    Raises
    ------
    BayescaleError
        If the file is not a table, or could be read in two ways.
    """
    if (kind := kind_of(path, RunsError)) != "file":
        raise refuse(expected="a regular file", **_odd(kind))
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise refuse(got=str(error)) from None
    if len(content) > _MOST_BYTES:
        raise refuse(got=f"more than {_MOST_BYTES} bytes")
    content, packed = _unpacked(content, refuse)
    suffix = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    magic = next((m for m in (_PARQUET, _EXCEL, _FEATHER, *_LOST) if content.startswith(m)), b"")
    if magic in _LOST:
        raise refuse(expected=EXPECTED, got=_LOST[magic][0], hint=_LOST[magic][1])
    if magic != _SUFFIX_OF.get(suffix, magic):
        raise refuse(expected=f"content of a {suffix} file", got="something else", hint="give the file another suffix")
    read = {_PARQUET: _parquet, _FEATHER: _feather, _EXCEL: _excel}.get(magic)
    try:
        found = read(content, refuse) if read else _text(content, suffix, refuse)
    except BayescaleError:
        raise
    except ValueError as error:
        raise refuse(got=str(error)) from None
    doubtful = next((marks for note, marks in _DOUBTFUL.items() if note in found.notes), "")
    frame, decimals = with_points(found.frame, decimal, doubtful=doubtful)
    return Table(frame, tuple(note for note in (packed, *found.notes, *decimals) if note))


def _odd(kind: str) -> dict[str, str]:
    """Return what is at a path that is no regular file, and what to do."""
    if kind == "folder":
        return {"got": "a folder", "hint": "name the file in it, or put runs.csv and card.toml into it"}
    return {
        "got": "a pipe" if kind == "pipe" else "a device or a socket",
        "hint": "write its content to a file, and name that",
    }


def _unpacked(content: bytes, refuse: Refuse) -> tuple[bytes, str]:
    for magic, (name, unpack) in _PACKED.items():
        if content.startswith(magic):
            try:
                with unpack(io.BytesIO(content)) as file:
                    unpacked = file.read(_MOST_BYTES + 1)
                if len(unpacked) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES} bytes")
                return unpacked, f"compressed with {name}"
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise refuse(got=f"damaged {name}: {error}") from None
    return content, ""


def _parquet(content: bytes, refuse: Refuse) -> Table:
    return Table(_by_arrow(arrow.from_parquet, content, refuse), ("Parquet",))


def _feather(content: bytes, refuse: Refuse) -> Table:
    return Table(_by_arrow(arrow.from_feather, content, refuse), ("Feather",))


def _by_arrow(read: Callable[..., pd.DataFrame], content: bytes, refuse: Refuse) -> pd.DataFrame:
    try:
        frame = read(content, _MOST_BYTES).reset_index(drop=True)
        texts = [name for name in frame.columns if _of_text(frame[name].dtype)]
        return frame.astype(dict.fromkeys(texts, object))  # Arrow decodes text when it is read
    except ImportError:
        raise RunsError("reading Parquet needs pyarrow", hint="pip install 'bayescale[parquet]'") from None
    except Exception as error:  # parsers of binary files raise whatever a damaged one makes them meet
        raise refuse(got=_said(error)) from None


def _of_text(dtype: Any) -> bool:
    return isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(dtype)


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _excel(content: bytes, refuse: Refuse) -> Table:
    try:
        sheets = excel.sheets(content, _MOST_BYTES)
    except ImportError:
        hint = "pip install 'bayescale[excel]', or save the sheet as CSV"
        raise RunsError("reading Excel needs openpyxl", hint=hint) from None
    except Exception as error:  # as for Parquet
        raise refuse(got=_said(error)) from None
    if len(sheets) != 1:
        raise refuse(expected="one sheet with runs", got=f"sheets with content: {', '.join(sheets) or 'none'}",
                     hint="keep one sheet, or save it as CSV")  # fmt: skip
    ((name, rows),) = sheets.items()
    if any(cell == "" for _, row in rows for cell in row) and (place := excel.uncomputed(content, name)):
        raise refuse(expected="the values of formulas", got=f"a formula in {place} that was never computed",
                     hint="open the file in a spreadsheet and save it, or save it as CSV")  # fmt: skip
    found = _framed(rows, refuse)
    return Table(found.frame, (f"Excel sheet {name!r}", *found.notes))


def _text(content: bytes, suffix: str, refuse: Refuse) -> Table:
    text, encoding = _decoded(content, refuse)
    if suffix in (".json", ".jsonl", ".ndjson") or text.lstrip()[:1] in ("{", "["):
        try:
            frame, note = nested.from_json(text)
        except ValueError as error:
            raise refuse(expected=nested.EXPECTED, got=str(error)) from None
        found = Table(frame, (note,))
    else:
        found = _delimited(text, refuse)
    return Table(found.frame, (*([f"encoded in {encoding}"] if encoding else []), *found.notes))


def _decoded(content: bytes, refuse: Refuse) -> tuple[str, str]:
    """Return the text and its encoding in words, empty for UTF-8."""
    encoding, words = next((found for mark, found in _MARKS.items() if content.startswith(mark)), ("utf-8", ""))
    head = content[:200]
    if encoding == "utf-8" and b"\0" in head:  # UTF-16 without a mark: every second byte of Latin text is zero
        for name, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
            if not any(zeros) and all(others):
                encoding, words = name, "UTF-16"
    try:
        return content.decode(encoding), words
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or b"\0" in content:
            raise refuse(got=str(error)) from None
    if mixed := _also_utf8(content):
        raise refuse(expected="text in one encoding", got=f"UTF-8 on line {mixed}, and other bytes elsewhere",
                     hint="save the file as UTF-8, or write the letters with accents again")  # fmt: skip
    try:
        return content.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError as error:
        raise refuse(got=str(error)) from None


def _also_utf8(content: bytes) -> int:
    """Return the first line with a letter in UTF-8 of a text that is not UTF-8 throughout, or 0.

    Two files with different encodings were joined, and neither encoding reads both parts.
    """
    for at, line in enumerate(content.splitlines(), start=1):
        if any(ord(letter) > 127 for letter in line.decode("utf-8", "ignore")):
            return at
    return 0


def _delimited(text: str, refuse: Refuse) -> Table:
    check_shape(max(map(text.count, "\r\n")) - 1, 1)  # lines after the header, before there is a list of them
    lines = list(io.StringIO(text, newline=""))
    separator, notes, lines = _separator(lines, refuse)
    check_cells(text.count(separator))
    skipped: list[int] = []
    rows = list(_rows(lines, separator, skipped, refuse))
    _check_skipped({at: lines[at - 1] for at in skipped}, separator, rows, refuse)
    found = _framed(rows, refuse)
    comments = _counted(len(skipped), "comment line", " (from #)")
    return Table(found.frame, (*notes, *comments, *found.notes))


def _separator(lines: list[str], refuse: Refuse) -> tuple[str, list[str], list[str]]:
    """Return what separates the cells, in words too, and the lines without Excel's ``sep=`` line.

    It is the only candidate outside quotes in the header, or the one whose cells contain no other candidate.
    """
    at = next((i for i, line in enumerate(lines) if not _is_void(line)), None)
    if at is None:
        raise refuse(got="an empty file")
    if said := _SEP_LINE.fullmatch(lines[at].strip()):
        words = f"the line sep={said[1]} of Excel"
        return said[1], [words, *_separated(said[1])], [*lines[:at], "\n", *lines[at + 1 :]]
    header = re.sub(r'"[^"]*"', "", lines[at].rstrip("\r\n"))
    present = [s for s in _SEPARATORS if s in header]
    clean = [s for s in present if not any(other in cell.strip() for cell in header.split(s) for other in present)]
    if len(present) > 1 and len(clean) != 1:
        raise refuse(
            expected="one separator of columns in the header",
            got=" and ".join(_SEPARATORS[s] for s in present),
            hint="use one of them, or start the file with a line such as sep=;",
        )
    separator = (clean or present or [","])[0]
    return separator, _separated(separator), lines


def _separated(separator: str) -> list[str]:
    return [] if separator == "," else [f"columns separated by {_SEPARATORS.get(separator, repr(separator))}"]


def _is_void(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _rows(lines: list[str], separator: str, skipped: list[int], refuse: Refuse) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with its first line; comments become empty rows, and their lines are noted."""
    state = {"fresh": True}

    def fed() -> Iterator[str]:
        for at, line in enumerate(lines, start=1):
            if state["fresh"] and line.lstrip().startswith("#"):  # not inside a quoted cell of several lines
                skipped.append(at)
                yield "\n"
            else:
                state["fresh"] = False
                yield line

    reader, line = _reader(fed(), separator), 1
    try:
        for row in reader:
            yield line, row
            line, state["fresh"] = reader.line_num + 1, True
    except csv.Error as error:
        got = next((words for start, words in _CSV_FAULTS.items() if str(error).startswith(start)), str(error))
        raise refuse(
            expected='quotes at both ends of a cell, and "" for a quote in it',
            got=f"{got}, in the row that starts on line {line}",
            hint="close or remove the quote",
        ) from None


def _reader(lines: Iterable[str], separator: str) -> Any:
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)


def _check_skipped(comments: dict[int, str], separator: str, rows: list[tuple[int, list[str]]], refuse: Refuse) -> None:
    """Refuse comments that could be runs whose first cell, such as a family, starts with #.

    Such a line has the cells of the header and a number among them. It is a comment if every other row has a number in
    its first cell.
    """
    filled = [(at, row) for at, row in rows if any(cell.strip() for cell in row)]
    if not filled or (len(filled) > 1 and all(is_number(row[0]) for _, row in filled[1:])):
        return
    (header_at, header), *_ = filled
    for at, line in comments.items():
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=separator != "\t"))
        if at > header_at and len(cells) == len(header) and any(map(is_number, cells[1:])):
            raise refuse(
                expected="comments that could not be runs",
                got=f"line {at}, which starts with # and has the cells of a run",
                hint=f'remove the line, or quote its first cell: "{cells[0].strip()}"',
            )


def _framed(rows: list[tuple[int, list[Any]]], refuse: Refuse) -> Table:
    """Return rows as a frame: the first row with content is the header; empty rows and columns are left out."""
    cleaned = [(at, [cell.strip() if isinstance(cell, str) else cell for cell in row]) for at, row in rows]
    kept = [(at, row) for at, row in cleaned if any(cell != "" for cell in row)]
    if not kept:
        raise refuse(got="an empty file")
    header = [str(cell) for cell in kept[0][1]]
    check_shape(len(kept) - 1, len(header))
    if not all(cell.isprintable() for cell in header):
        raise refuse(got="a header that is not text")
    if len(kept) > 1 and all(_is_number(cell) for cell in header):
        raise refuse(
            expected="names of columns in the first row, such as params,tokens,loss",
            got=", ".join(header), hint="add a header, or remove the # before it",
        )  # fmt: skip
    notes = _counted(sum(kept[0][0] < at < kept[-1][0] for at, row in cleaned if not any(c != "" for c in row)),
                     "empty line")  # fmt: skip
    cells = [_fitted(at, row, len(header), refuse) for at, row in kept[1:]]
    frame = pd.DataFrame(cells, index=[at for at, _ in kept[1:]], columns=header, dtype=object)
    frame, formulas = _without_formulas(frame)
    frame, unnamed = _without_unnamed(frame)
    return Table(frame, (*notes, *formulas, *unnamed))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _fitted(at: int, row: list[Any], width: int, refuse: Refuse) -> list[Any]:
    """Return a row with as many cells as the header; only empty cells may be left out at its end."""
    if len(row) < width or any(cell != "" for cell in row[width:]):
        raise refuse(
            expected=f"{width} cells in each row, as in the header",
            got=f"{len(row)} on line {at}",
            hint="fix the line; quote a cell that contains a comma"
            if width > 1
            else "separate the columns with commas",
        )
    return row[:width]


def _without_formulas(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the frame with cells such as ``="60"`` as 60: Excel keeps text from becoming a number in this way."""
    met = False

    def plain(cell: Any) -> Any:
        nonlocal met
        match = _FORMULA.fullmatch(cell) if isinstance(cell, str) else None
        met = met or match is not None
        return cell if match is None else match[1]

    plained = frame.map(plain) if len(frame) else frame
    return plained, ['cells written as ="…"'] if met else []


def _without_unnamed(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the frame without columns that have no name, if they are empty or number the rows."""
    notes, keep = [], []
    for place, name in enumerate(frame.columns):
        cells = [str(cell) for cell in frame.iloc[:, place]]
        empty = not any(cells)
        numbered = any(cells == [str(start + i) for i in range(len(cells))] for start in (0, 1))
        if name == "" and (empty or numbered):
            notes.append(f"a column without a name {'or content' if empty else 'that numbers the rows'} left out")
        else:
            keep.append(place)
    return frame.iloc[:, keep], notes


def _counted(n: int, what: str, more: str = "") -> list[str]:
    return [f"{n} {what}{'s' * (n > 1)} skipped{more}"] if n else []
