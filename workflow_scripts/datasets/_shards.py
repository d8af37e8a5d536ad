"""Where a dataset repository of the Hugging Face hub keeps the Parquet files of each split."""

import re
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.datasets._folders import list_visible, tell_unread

NUMBERED = re.compile(r"(?:^|-)([0-9]+)-of-([0-9]+)(?:-[0-9a-f]+)?$")
"""The end of a shard's name: its number, that of all, and a hash where an older version of `datasets` wrote it."""


def find_shards(folder: Path, splits: Sequence[str]) -> list[list[Path]]:
    """The files of each split, by name: `{split}.parquet`, `{split}-*.parquet` or `{split}/*.parquet`, all in `folder`
    or all in the one folder directly below it that has them; what else is there, the log says. UserError if that is not
    one set of whole splits, or if the folder of a split has anything else."""
    below = [path for path in list_visible(folder) if path.is_dir() and path.name not in splits]
    homes = [home for home in (folder, *below) if all(_find_ways(home, split) for split in splits)]
    if len(homes) > 1:
        raise UserError(f"{folder}: {join_names(homes)} all have the splits {join_names(splits)}; name one as the file")
    if not homes:
        there = join_names(name for home in (folder, *below) for name in _list_splits(home, folder))
        raise UserError(
            f"{folder}: no Parquet files of the splits {join_names(splits)} side by side, as SPLIT.parquet, "
            f"SPLIT-00000-of-00001.parquet or SPLIT/*.parquet here or in one folder below; there are: {there}"
        )
    found = [_choose_way(homes[0], split) for split in splits]
    tell_unread(homes[0], {path.relative_to(homes[0]).parts[0] for shards in found for path in shards})
    if homes[0] != folder:
        tell_unread(folder, [homes[0].name])
    return found


def _find_ways(home: Path, split: str) -> list[list[Path]]:
    """The files of a split, for each way of naming them that has any."""
    beside = [path for path in _list_files(home) if path.stem == split or path.name.startswith(f"{split}-")]
    inside = _list_files(home / split) if (home / split).is_dir() else []
    single = [path for path in beside if path.stem == split]
    return [way for way in (single, [path for path in beside if path not in single], inside) if way]


def _list_files(folder: Path) -> list[Path]:
    return [path for path in list_visible(folder) if path.suffix == ".parquet" and not path.is_dir()]


def _list_splits(home: Path, folder: Path) -> list[str]:
    """The names of what may be splits in one of the folders, as they stand below `folder`."""
    names = [path.stem.partition("-")[0] for path in _list_files(home)]
    names += [path.name for path in list_visible(home) if path.is_dir() and _list_files(path)]
    return [str((home / name).relative_to(folder)) for name in sorted(set(names))]


def _choose_way(home: Path, split: str) -> list[Path]:
    first, *others = _find_ways(home, split)
    if others:
        raise UserError(
            f"{home}: split {split} is there twice, {first[0].relative_to(home)} and {others[0][0].relative_to(home)}; "
            "keep one of the two elsewhere"
        )
    _check_whole(first)
    if first[0].parent != home:
        _refuse_others(first[0].parent, first)
    return first


def _refuse_others(folder: Path, shards: Sequence[Path]) -> None:
    """UserError if a split's folder has more than its shards, but for what pyarrow, too, leaves out: `_metadata`."""
    for path in list_visible(folder):
        if path not in shards and not path.name.startswith("_"):
            raise UserError(f"{path} is no Parquet file by its name, and would be left out; keep it elsewhere")


def _check_whole(shards: Sequence[Path]) -> None:
    """UserError unless shards that are numbered are all of one set, and all there; others may have any name."""
    found = {path: match for path in shards if (match := NUMBERED.search(path.stem))}
    if not found:
        return
    model, *_ = found
    digits, count = found[model].groups()
    numbers = {int(match[1]): path for path, match in reversed(found.items()) if match[2] == count}
    kept = {path for number, path in numbers.items() if number < int(count)}
    for path in shards:
        if path not in kept:
            raise UserError(f"{path}: a shard of another set than {model.name}; keep those of one set here")
    missing = next((number for number in range(int(count)) if number not in numbers), None)
    if missing is not None:
        start, end = found[model].span(1)
        name = f"{model.stem[:start]}{missing:0{len(digits)}}{model.stem[end : found[model].end(2)]}.parquet"
        raise UserError(f"{model.with_name(name)}: this shard is missing, {len(shards)} of {int(count)} are there")
