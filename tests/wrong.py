"""Wrong inputs, drawn by Hypothesis: values of every type at every place of a document, bytes, columns of tables; and
what a reader owes whatever it is given."""

import datetime
import logging
import math
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from hypothesis import HealthCheck, Phase, configuration, event, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.progress import LOG

INPUTS = int(os.environ.get("WRONG_INPUTS", "0"))
SECONDS, WAITING = 2.0, 600.0
"""Of the processor, in which a reader is done, however busy the machine is; and by the clock, if it waits."""
LONGEST = 1500
"""Characters of a message."""
REFUSED: Any = object()
GONE: Any = object()
T = TypeVar("T")
Place = tuple[Any, ...]

configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")  # no folder in the checkout
NO_CONSTANTS = providers._local_constants
# those of all that is imported would be drawn, too, and change with any edit and with the tests that ran before
providers._get_local_constants = lambda: NO_CONSTANTS  # type: ignore[assignment]


def inputs(count: int) -> settings:
    """How many inputs a generator draws: `count`, the same each time; or WRONG_INPUTS, others each time."""
    return settings(
        max_examples=INPUTS or count,
        derandomize=not INPUTS,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


class Hang(BaseException):
    """No Exception: a reader would take it for the file's fault."""


@contextmanager
def in_time() -> Iterator[None]:
    """A block that has SECONDS, and WAITING at most."""

    def stop(*args: object) -> None:
        raise Hang

    before = [signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGALRM, before[1])


@contextmanager
def hearing() -> Iterator[list[str]]:
    """The lines that the log gets in this block."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    before = LOG.level
    LOG.setLevel(logging.INFO)
    LOG.addHandler(handler)
    try:
        yield lines
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)


def ask(read: Callable[[], T], *names: str, made: bool = False) -> T:
    """What `read` returns; REFUSED where it refuses as it should, in two lines at most that have one of the names, and
    that say to remove nothing but what was made here. Any other error goes through."""
    try:
        with in_time():
            return read()
    except UserError as error:
        text = str(error)
        assert len(text.splitlines()) <= 2 and text.isprintable() and len(text) <= LONGEST, text
        assert any(name in text for name in names), text
        assert made or "remove it" not in text, text
        return REFUSED  # type: ignore[no-any-return]


def is_read(found: Any) -> bool:
    """Whether it is not REFUSED; Hypothesis counts both."""
    event("refused" if found is REFUSED else "read")
    return found is not REFUSED


def is_same(given: Any, found: Any) -> bool:
    """Whether a value is what was written: nothing rounded, clipped or cut off."""
    if isinstance(found, tuple):
        parts = given.split("x") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
        return len(parts) == len(found) and all(map(is_same, parts, found))
    if isinstance(found, bool) or isinstance(given, bool):
        return str(given).lower() == str(found).lower()
    if isinstance(found, int | float):
        number = _to_number(given) if isinstance(given, str) else given
        return isinstance(number, int | float) and (number == found or (number != number and found != found))
    return type(given) is type(found) and bool(given == found)


def _to_number(text: str) -> float:
    """The number of a text; a whole one exactly."""
    try:
        return int(text)
    except ValueError:
        return float(text)


NUMBERS: Sequence[Any] = (
    *(0, 1, 2, 3, 7, -1, 255, 256, 1000, 2**31 - 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**400, -(10**400)),
    *(0.0, -0.0, 0.1, 0.3, 0.5, 0.99, 1.0, 1.5, 2.0, 5e-324, 1e-5, 1e22, 1e308, math.nan, math.inf, -math.inf),
)
TEXTS = (
    *("", " ", "\n", "a\nb\nc", "\0", "\x1b[31m", "\r", "\u2028", "\ud800", "ä", "größe", "\ufeff", "x" * 300),
    *("1", "0", "-1", "1.5", "1e-3", "1_0", " 7 ", "0x10", "010", "٣", "nan", "inf", "1e400", "9007199254740993"),
    *("1x2", "2x2x2", "1x", "x", "true", "FALSE", "No", "~", "null", "<<", "=", "*", "**", "a**", "[", "[!", "o?e"),
    *("one", "ft", "none", "badnets", "sig", "clp", "heatmap", "digits", "preact_small", "preact_resnet18", "simclr"),
    *("ft+lr~0.5", "ft+lr~1+lr~2", "ft+lr", "+", "ft+", "probe+extractor~simclr", "digits+reserve~0.2", "random"),
    *(
        "../one",
        "/dev/zero",
        "/etc/passwd",
        ".",
        "a/b",
        "acc",
        "asr",
        "defense",
        "attack",
        "paired",
        "kind",
        "y" * 5000,
    ),
)
OTHERS: Sequence[Any] = (
    *(None, True, False, datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 12), b"", b"1", b"\xff\0"),
    *([], {}, [[]], [{}], {"": None}, [None], [1, 1], [1, 1.0], ["a", "a"], [1, [2, [3, [4]]]], {"a": {"b": {"c": 1}}}),
    *(list(range(100)), {str(i): i for i in range(100)}, [True, 1], [0.5, "0.5"], [1, 2], [[1, 2], "2x2"], {1, 2}),
)
KEYS = st.one_of(st.sampled_from([*TEXTS, 0, 1, None, True, 0.5, math.nan, datetime.date(2020, 1, 1), b"k"]), st.text())
SCALARS = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(OTHERS),
    st.integers(),
    st.integers(0, 60),
    st.floats(),
    st.floats(0, 1),
    st.text(max_size=20),
    st.text("0123456789._-+exX", max_size=8),
    st.dates(),
    st.binary(max_size=8),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=5
)


def places(document: Any, place: Place = ()) -> Iterator[Place]:
    """Where each value of a document stands: the keys and positions that lead there."""
    yield place
    for key, part in _list_parts(document).items():
        yield from places(part, (*place, key))


def _list_parts(document: Any) -> dict[Any, Any]:
    """The parts of a mapping or a list, by key or position."""
    return dict(enumerate(document)) if isinstance(document, list) else document if isinstance(document, dict) else {}


@st.composite
def _places(draw: st.DrawFn, document: Any) -> Place:
    """Any place as likely as any other, or each key as likely as those beside it."""
    if draw(st.booleans()):
        return draw(st.sampled_from(list(places(document))))
    place: Place = ()
    while parts := _list_parts(find(document, place)):
        place = (*place, draw(st.sampled_from(list(parts))))
    return place


def find(document: Any, place: Place) -> Any:
    """The value at a place."""
    for key in place:
        document = document[key]
    return document


def put(document: Any, place: Place, value: Any) -> Any:
    """The document with another value at a place, or with nothing there if it is GONE."""
    if not place:
        return value
    key, *rest = place
    parts = dict(_list_parts(document))
    parts[key] = put(parts.get(key), tuple(rest), value)
    kept = {key: part for key, part in parts.items() if part is not GONE}
    return list(kept.values()) if isinstance(document, list) else kept


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """The document with another value, another key, one more or one less, at one or two places."""
    for _ in range(draw(st.integers(1, 2))):
        place = draw(_places(document))
        old = find(document, place)
        match draw(st.sampled_from(["value", "value", "near", "near", "near", "key", "drop", "add"])):
            case "key" if place and isinstance(find(document, place[:-1]), dict):
                document = put(put(document, place, GONE), (*place[:-1], draw(KEYS)), old)
            case "drop" if place:
                document = put(document, place, GONE)
            case "add" if isinstance(old, dict):
                document = put(document, (*place, draw(KEYS)), draw(VALUES))
            case "add" if isinstance(old, list):
                document = put(document, place, [*old, draw(VALUES)])
            case "near":
                document = put(document, place, draw(st.sampled_from(find_near(old))))
            case _:
                document = put(document, place, draw(VALUES))
    return document


def find_near(value: Any) -> list[Any]:
    """What somebody may have written who meant this value, or nearly it."""
    if isinstance(value, list) and value:
        return [value[::-1], value[1:], value[:1], value[0], [value], value * 2, [*value, value[0]]]
    if isinstance(value, dict):
        return [dict(reversed(value.items())), [value], [value, value], [{key: part} for key, part in value.items()]]
    near: list[Any] = [
        str(value),
        [value],
        [value, value],
        {str(value)[:50]: value},
        {str(value)[:50]: {}},
        f" {value}",
    ]
    if isinstance(value, int | float) and abs(value) < 2**62:
        near += [value + 1, value / 2, -value, float(value), int(value), f"{value!r}0", [value, value + 1, value / 3]]
    return near


@st.composite
def damaged(draw: st.DrawFn, content: bytes, snippets: Sequence[bytes]) -> bytes:
    """The bytes cut off, with some of them flipped, left out or twice there, or with a snippet among them."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = start + draw(st.integers(1, 40))
        match draw(st.sampled_from(["cut", "flip", "flip", "leave out", "twice", "snippet", "snippet"])):
            case "cut":
                content = content[:start]
            case "flip":
                content = content[:start] + bytes([draw(st.integers(0, 255))]) + content[start + 1 :]
            case "leave out":
                content = content[:start] + content[stop:]
            case "twice":
                content = content[:stop] + content[start:]
            case "snippet":
                content = content[:start] + draw(st.sampled_from(snippets)) + content[start:]
    return content


KINDS: Sequence[pa.DataType] = (
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(4), pa.binary(48), pa.null()),
    *(pa.date32(), pa.timestamp("ns"), pa.duration("s"), pa.decimal128(10, 2), pa.list_(pa.int64())),
    *(pa.struct([("bytes", pa.binary()), ("path", pa.string())]), pa.map_(pa.string(), pa.int64())),
    *(pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.int64())),
)
BAD = (
    -1,
    3,
    99,
    2**31,
    -(2**63),
    2**63 - 1,
    math.nan,
    math.inf,
    -0.5,
    1e300,
    "",
    "train",
    "a\nb",
    b"",
    b"\x89PNG",
    True,
)


@st.composite
def changed_table(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """The table, which has rows, with a column or rows that are not what they were: missing, renamed, twice there, of
    another type, empty in places, out of range, in another order."""
    name, row = draw(st.sampled_from(table.column_names)), draw(st.integers(0, len(table) - 1))
    match draw(st.sampled_from(["drop", "rename", "twice", "type", "type", "cell", "cell", "rows", "less", "more"])):
        case "drop":
            return table.drop_columns([name])
        case "rename":
            other = draw(st.sampled_from(["a\nb\nc", "", "x" * 3000, "\x1b[31m", name.upper()]))
            return table.rename_columns([other if column == name else column for column in table.column_names])
        case "twice":
            return table.append_column(name, table[name])
        case "type":
            return exchange(table, name, draw(st.sampled_from(_find_casts(table[name]))))
        case "cell":
            return exchange(table, name, draw(st.sampled_from(find_cells(table[name], row))))
        case "rows":
            return table.take(draw(st.permutations(range(len(table)))))
        case "less":
            return table.slice(0, row)
    return pa.concat_tables([table, table.slice(row, 1)])


def exchange(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """The table with another column in the place of one."""
    return table.set_column(table.column_names.index(name), name, column)


def find_cells(column: pa.ChunkedArray, row: int) -> list[pa.Array]:
    """The column, of its type, with a cell that is empty or bad."""
    values = column.to_pylist()
    arrays = (_try_array([*values[:row], value, *values[row + 1 :]], column.type) for value in (None, *BAD))
    return [array for array in arrays if array is not None]


def _find_casts(column: pa.ChunkedArray) -> list[pa.Array]:
    """The column, or its values as texts, or just numbers, in each type that can hold them."""
    values = column.to_pylist()
    found = (_try_array(v, kind) for v in (values, list(map(str, values)), list(range(len(values)))) for kind in KINDS)
    return [array for array in (*found, pa.nulls(len(values))) if array is not None]


def _try_array(values: list[Any], kind: pa.DataType) -> pa.Array | None:
    try:
        if pa.types.is_dictionary(kind):
            return pa.array(values, kind.value_type).dictionary_encode()
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        return None
