"""Reads ``rowtide.yaml`` and the secrets to which it refers.

In: the path of a file; secret references. Out: `Loaded` (the definition with its file), secrets as text. Rule:
all problems of a file come together, each with ``file:line:``; no message ever shows a value, for it may be a secret.
"""

import os
import re
import socket
import stat
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import ScalarNode

from rowtide.definition import model as definitions
from rowtide.definition.diagnostics import Problem
from rowtide.definition.model import Definition
from rowtide.error_catalogue import definition_errors
from rowtide.errors import DefinitionError, RowtideError

MOST_CHARACTERS: Final = 16 << 20
MOST_VALUES: Final = 1_000_000
"""No definition is larger: a thousand syncs of a hundred fields have some 400,000 values in 10 million characters."""
MOST_DEPTH: Final = 40
"""Sections that are in each other: a definition has eight of them."""
MOST_SECRET: Final = 1 << 20
_TOO_DEEP: Final = "its sections are in each other without end"

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A definition with the file it was read from."""

    definition: Definition
    path: Path
    stamp: Stamp | None
    """What the file's state was before it was read."""
    tree: Any
    """ruamel's tree: it knows the lines."""

    @property
    def where(self) -> str:
        """The file as sentences call it that are read on other machines, too."""
        return f"{self.path} on {socket.gethostname()}"

    def located(self, error: DefinitionError) -> DefinitionError:
        """The same error with ``file:line:`` before each problem (those that compiling a sync found, say)."""
        return _located(self.path, self.tree, error)


def load(path: str | Path) -> Loaded:
    """The definition in a file; DefinitionError with every problem of it."""
    path = Path(path)
    stamp = stamp_of(path)
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(MOST_CHARACTERS + 1)
    except FileNotFoundError as error:
        raise definition_errors.NO_DEFINITION(path=path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise definition_errors.DEFINITION_UNREADABLE(path=path, problem=_reason(error)) from error
    if len(text) > MOST_CHARACTERS:
        problem = f"it has more than {MOST_CHARACTERS:,} characters"
        raise definition_errors.DEFINITION_UNREADABLE(path=path, problem=problem)
    tree = _parse(path, text)
    plain = _to_plain(path, tree)
    try:
        return Loaded(definitions.parse(plain, lambda reference: beside(path, reference)), path, stamp, tree)
    except DefinitionError as error:
        raise _located(path, tree, error) from error


def stamp_of(path: Path) -> Stamp | None:
    """What changes when the file does; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def why_away(reference: str) -> str | None:
    """Why the secret of a reference cannot be had; None where it can."""
    try:
        resolve_secret(reference)
    except RowtideError as error:
        return error.sentence
    return None


def beside(definition: Path, reference: str) -> str:
    """A reference of the definition in this file; a relative path of a secret goes out from the file's directory."""
    scheme, _, rest = reference.partition(":")
    return f"file:{definition.absolute().parent / rest}" if scheme == "file" else reference


def resolve_secret(reference: str) -> str:
    """The secret a reference (``env:NAME``, ``file:path``) names; UserError when it is not there."""
    scheme, _, rest = reference.partition(":")
    match scheme:
        case "env":
            value = os.environ.get(rest)
            if not value:
                raise definition_errors.SECRET_MISSING(name=rest)
            return value
        case "file":
            return _read_secret(Path(rest))
        case "vault":
            raise definition_errors.NOT_AVAILABLE()
        case _:
            raise definition_errors.SECRET_LITERAL()


def _read_secret(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            if _is_open(os.fstat(stream.fileno())):
                raise definition_errors.SECRET_OPEN(path=path)
            value = stream.read(MOST_SECRET + 1).rstrip("\r\n")
            if len(value) > MOST_SECRET:
                raise definition_errors.SECRET_UNREADABLE(path=path, problem="no secret is so large")
    except (OSError, UnicodeDecodeError) as error:
        raise definition_errors.SECRET_UNREADABLE(path=path, problem=_reason(error)) from error
    if not value:
        raise definition_errors.SECRET_EMPTY(path=path)
    return value


def _is_open(there: os.stat_result) -> bool:
    """Whether others than its owner may read or write a file; a group may read what root owns, as libpq has it."""
    closed = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
    return bool(there.st_mode & (closed if there.st_uid == 0 else closed | stat.S_IRGRP))


def _reason(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8 text"


def _parse(path: Path, text: str) -> Any:
    try:
        with warnings.catch_warnings():
            # ruamel warns of an anchor that is there twice, and quotes both lines.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            return _reader().load(text)
    except MaxDepthExceededError:
        raise definition_errors.NOT_YAML(path=path, line=1, problem=_TOO_DEEP) from None
    except YAMLError as error:
        raise definition_errors.NOT_YAML(path=path, line=_line_of_error(error), problem=_yaml_sentence(error)) from None
    except RecursionError:
        raise definition_errors.NOT_YAML(path=path, line=1, problem=_TOO_DEEP) from None


def _reader() -> YAML:
    reader = YAML(typ="rt", pure=True)
    reader.max_depth, reader.Composer = MOST_DEPTH, _Composer
    return reader


class _Composer(Composer):
    """ruamel's, which refuses sections in the place of keys: those in each other take it twice as long for each."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise ComposerError(None, None, "found a key that is no plain text", key.start_mark)
        return node


def _line_of_error(error: YAMLError) -> int:
    if not isinstance(error, MarkedYAMLError):
        return 1
    # The parser notices something unclosed only at the end; the operator wants to know where it began.
    unclosed = error.context_mark if "end of stream" in str(error.problem) else None
    mark = unclosed or error.problem_mark or error.context_mark
    return 1 if mark is None else int(mark.line) + 1


def _yaml_sentence(error: YAMLError) -> str:
    """What the parser says, without the lines it quotes (they may hold a secret)."""
    said = str(error.problem or "") if isinstance(error, MarkedYAMLError) else ""
    if isinstance(error, DuplicateKeyError):
        return _duplicate_sentence(error, said)
    if said.startswith("found undefined alias"):
        return "not YAML: found undefined alias; a value that begins with * goes in quotes"
    # Characters and the parser's own <words> may be quoted; what is longer was in the file.
    return f"not YAML: {said.splitlines()[0]}" if said and not _QUOTES_MORE.search(said) else "not YAML"


_QUOTES_MORE = re.compile(r'"|\'[^\'\\<][^\'\\]+\'')


def _duplicate_sentence(error: DuplicateKeyError, said: str) -> str:
    # ruamel quotes both values, too: the key alone is shown, and that only if it looks like one.
    found = re.match(r'found duplicate (?:merge )?key "(.*?)"(?: with value|\Z)', said, re.DOTALL)
    key = f"the key '{found[1]}'" if found and re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", found[1]) else "a key"
    begun = "" if error.context_mark is None else f", which begins in line {int(error.context_mark.line) + 1}"
    return f"{key} is there a second time in its section{begun}"


class _TooMany(Exception):
    """More values than any definition has: aliases that stand for each other."""


def _to_plain(path: Path, tree: Any) -> Any:
    """The tree as plain data; DefinitionError where no definition is so large or so deep."""
    try:
        return _plain(tree, count(1))
    except _TooMany:
        problem = f"its aliases stand for more than {MOST_VALUES:,} values"
    except RecursionError:
        problem = _TOO_DEEP
    raise definition_errors.NOT_YAML(path=path, line=1, problem=problem)


def _plain(node: Any, met: Iterator[int]) -> Any:
    """ruamel's tree as plain dicts, lists and scalars (its numbers and texts are subclasses that pydantic refuses)."""
    if next(met) > MOST_VALUES:
        raise _TooMany
    if isinstance(node, CommentedMap):
        return {_plain(key, met): _plain(value, met) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value, met) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _located(path: Path, tree: Any, error: DefinitionError) -> DefinitionError:
    found = [Problem(tuple(where), sentence) for where, sentence in error.problems]
    located = sorted((_line(tree, problem.path), problem) for problem in found)
    sentence = "\n".join(f"{path}:{line}: {problem.sentence}" for line, problem in located)
    return error.about([problem for _, problem in located], sentence)


def _line(tree: Any, path: Sequence[str | int]) -> int:
    """The line of the deepest key of ``path`` that is there (1-based)."""
    line, node = 1, tree
    for part in path:
        if isinstance(node, CommentedMap):
            # A key may be a number in the file that the definition takes for text.
            key = next((key for key in node if key == part or str(key) == str(part)), None)
            if key is None:
                break
            line, node = int(node.lc.key(key)[0]) + 1, node[key]
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line, node = int(node.lc.item(part)[0]) + 1, node[part]
        else:
            break
    return line
