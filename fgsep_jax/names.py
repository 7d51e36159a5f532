"""Names that come from data, where they leave the program: paths, cells of a CSV, Markdown.

An id, a class, a speaker, a data set's name may be any text: '..', two lines, '=1+1', '<script>'.
Inside it stays as it is, and what reads files gets it back; on the way out it passes one of these.
"""

from collections.abc import Iterable
import csv
import hashlib
import io
import os
import re
import unicodedata

RESIDUAL = 'residual'  # of what all parts leave of a recording; no source is called so
LONGEST = 150  # bytes of a part; file systems take 255, or 143 less a suffix where they encrypt
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_DEVICE = re.compile(r'(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)', re.IGNORECASE)
# Files that are searched for below a folder: nothing else may be called so.
_SEARCHED = ('config.json', 'summary.json', 'examples.csv', 'example.json')
_CHANGED = re.compile(r'--[0-9a-f]{16}$')  # what `part` gives to names that it had to change
_TURNS = ('LRE', 'RLE', 'LRO', 'RLO', 'PDF', 'LRI', 'RLI', 'FSI')  # of direction
# What systems and file servers leave beside the files of their users.
_SYSTEM_NAMES = {
    '__macosx', 'temporary items', 'network trash folder', 'lost+found', 'lost.dir',
    'system volume information', '$recycle.bin', 'recycler', 'recycled',
    '@eadir', '@recycle', '@recently-snapshot', '@tmp', '#recycle', '#snapshot', '~snapshot',
    '_gsdata_', 'thumbs.db', 'ehthumbs.db', 'desktop.ini', 'icon\r',
}  # fmt: skip
_FORMULA = re.compile("'*[=+@\t\r\n＝＋＠－-]")  # a spreadsheet runs cells that begin so


def part(name: str, *, ascii: bool = False, taken: Iterable[str] = ()) -> str:
    """Makes a name one part of a path, on every system, that no other name has.

    Args:
      name: any text.
      ascii: whether letters, digits, '_', '-' and '.' of ASCII are all that may stand in it, as in
        the ids and addresses of a page.
      taken: parts that belong to other names; one that differs in case or accents alone counts.

    Returns:
      The name itself where it is such a part (`is_part`), neither taken nor searched for. Else
      what is left of it, and a digest: two names never share a part.
    """
    there = {folded(other) for other in (*taken, *_SEARCHED)}
    if is_part(name, ascii=ascii) and not _CHANGED.search(name) and folded(name) not in there:
        return name
    plain = unicodedata.normalize('NFC', name)
    plain = re.sub(r'[^\w-]+', '-', plain, flags=re.ASCII if ascii else 0).strip('-')
    plain = plain.encode()[: LONGEST - 18].decode(errors='ignore').strip('-') or 'unnamed'
    attempt = 0
    while True:
        content = f'{attempt}\0{name}'.encode('utf-8', 'surrogatepass')
        made = f'{plain}--{hashlib.sha256(content).hexdigest()[:16]}'
        if folded(made) not in there:
            return made
        attempt += 1


def is_part(text, *, ascii=False, longest=LONGEST):
    """Whether a text can be one part of a path as it is, on every system.

    It is printable, in Unicode's composed form, of at most `longest` bytes; it names no folder
    above, hidden file, option, home or device.
    """
    return (
        text.isprintable()
        and 0 < len(text.encode()) <= longest
        and text[0] not in '.~- '
        and text[-1] not in '. '
        and not _FORBIDDEN.search(text)
        and not _DEVICE.match(text)
        and unicodedata.is_normalized('NFC', text)
        and (not ascii or re.fullmatch(r'[\w.-]+', text, re.ASCII) is not None)
    )


def identifier(text, *, otherwise):
    """A text in small letters, digits and `_`, with `otherwise` before it where no letter is first,
    or where it would be no part of a path."""
    name = re.sub(r'[^a-z0-9]+', '_', text.lower())[:100].strip('_')
    if name[:1].isalpha() and is_part(name):
        return name
    return f'{otherwise}_{name}'.rstrip('_')


def is_path(text):
    """Whether a text is parts with '/' between them: a path below wherever it starts."""
    return all(is_part(word, longest=255) for word in text.split('/'))


def is_companion(name: str) -> bool:
    """Whether a file or folder of this name is a system's own, beside the user's files."""
    name = name.lower()
    return name.startswith('.') or name in _SYSTEM_NAMES or bool(re.fullmatch(r'found\.\d+', name))


def counted(number, noun):
    """`1 file`, `2 files`, `1,200 classes`."""
    some = f'{noun}es' if noun.endswith('s') else f'{noun}s'
    return f'{number:,} {noun if number == 1 else some}'


def is_below(path, folder):
    """Whether an `is_path` stays below a folder where links are followed, too."""
    root = os.path.realpath(folder)
    there = os.path.realpath(os.path.join(root, path)) if is_path(path) else root
    return there.startswith(os.path.join(root, ''))


def alike(parts):
    """Whether two of some parts are one file on a system that does not tell case apart."""
    return len({folded(other) for other in parts}) < len(parts)


def folded(text):
    """What texts have in common that differ in case or accents' coding alone: on some systems they
    name one file."""
    return unicodedata.normalize('NFKC', text).casefold()


def shown(name):
    r"""A name as one line that any file and screen takes: 'a\nb' with the backslash for two lines,
    `\xe9` for a byte that is no UTF-8, `\u202e` for what would turn the line around."""
    text = str(name)
    return text if text.isprintable() else ''.join(map(_visible, text))


def _visible(c):
    if '\udc80' <= c <= '\udcff':  # how Python keeps such a byte
        return f'\\x{ord(c) - 0xDC00:02x}'
    kept = unicodedata.category(c) in ('Cf', 'Zs') and unicodedata.bidirectional(c) not in _TURNS
    return c if kept or c.isprintable() else c.encode('unicode_escape').decode()


def markdown(text, *, cell=False):
    """A line with names in it as Markdown that shows it as it is: no HTML, link, code or formula.

    Args:
      text: the line.
      cell: whether it stands in a table.
    """
    text = shown(' '.join(str(text).split()) if cell else text)
    text = re.sub(r'[\\`*$~]|(?<![^\W_])_|_(?![^\W_])|](?=[\[(:])|#(?=#*\s*$)', r'\\\g<0>', text)
    text = re.sub(r'&(?=#?\w+;)', '&amp;', text).replace('<', '&lt;')
    if cell:
        return text.replace('|', r'\|')
    return re.sub(r'^(\s*)([#>+=-])|^(\s*\d+)([.)])(?=\s|$)', r'\1\3\\\2\4', text)


def markdown_table(heads, rows, numeric):
    """Lines of a Markdown table.

    Args:
      heads: of the columns.
      rows: lists of cells.
      numeric: for each column whether it is set to the right, as numbers are.
    """
    lines = [
        '| ' + ' | '.join(markdown(cell, cell=True) for cell in row) + ' |'
        for row in (heads, *rows)
    ]
    sides = '|'.join('---:' if right else '---' for right in numeric)
    return '\n'.join([lines[0], f'|{sides}|', *lines[1:]])


def csv_text(rows):
    """Rows of cells as CSV; a text that a spreadsheet would run begins with an apostrophe.

    Numbers stay numbers, as text too; `from_cell` gives a text back.
    """
    return csv_lines(map(as_cell, row) for row in rows)


def as_cell(content):
    """What stands in a cell: before a text that a spreadsheet would run, an apostrophe."""
    runs = isinstance(content, str) and _FORMULA.match(content) and not _is_number(content)
    return f"'{content}" if runs else content


def csv_lines(rows):
    """Rows of cells as CSV, as they are."""
    rows = [[*row] for row in rows]
    plain = '\n'.join([*[','.join(['' if x is None else str(x) for x in row]) for row in rows], ''])
    commas = sum(map(len, rows)) - len(rows)
    whole = plain.count('\n') == len(rows) and plain.count(',') == commas
    if whole and not any(x in plain for x in _QUOTED) and plain[:1] != '\n':
        return plain  # nothing is to be quoted, as mostly: it takes half the writer's time
    text = _Lines()
    writer = csv.writer(text, lineterminator='\r\n')  # it quotes a '\r' only if that ends lines
    writer.writerows(rows)
    return text.getvalue()


_QUOTED = '"', '\r', '\n\n'  # the last: a row without cells, or with an empty one alone


class _Lines(io.StringIO):
    def write(self, line):
        return super().write(line[:-2] + '\n')


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def from_cell(text):
    """The text that `csv_text` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
