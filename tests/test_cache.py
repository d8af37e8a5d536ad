"""What two checkouts share through Snakemake's cache: the same once, never another cell's, never a stale one."""

import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from checkout import call, copy_of_checkout, edit, snakemake
from PIL import Image

from workflow_scripts.common import sources
from workflow_scripts.common.arrow import write_table
from workflow_scripts.common.sources import agree, hash_content

PUBLISHED = "results/artifacts/mine/badnets/ratio~{}/seed~{}/poison.parquet"
VICTIM = "results/artifacts/mine/badnets/ratio~0.5/seed~0/preact_small/victim.safetensors"


def write_raw(path: Path, shade: int) -> None:
    """A data set of one file, of the same size whatever the shade of its images."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(buffer, "bmp")
    rows = [{"split": s, "label": n % 2, "image": buffer.getvalue()} for s in ("train", "test") for n in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="none")


def set_config(folder: Path, crop: int) -> None:
    """Name the data set, and a network of a second for it."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["datasets"]["mine"] = {"loader": "parquet", "file": "raw.parquet"}
    config["settings"]["mine"] = {"models": {"preact_small": {"width": 4, "epochs": 1, "crop": crop}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def checkouts(tmp_path: Path) -> list[Path]:
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        folder = copy_of_checkout(tmp_path / name)
        set_config(folder, crop=0)
        write_raw(folder / "raw.parquet", shade=7)
        found.append(folder)
    return found


def make(folder: Path, target: str) -> list[str]:
    """The rules whose files were not in the cache, each once."""
    environment = {**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(folder.parent / "cache")}
    said = snakemake(folder, "--profile", "cached", "--", target, environment=environment)
    moved = re.findall(r"Moving output file results/artifacts/(\S+) to cache", said)
    names = {"train.parquet": "data", "poison.parquet": "poison", "victim.safetensors": "victim"}
    return sorted(names[name] for name in (Path(path).name for path in moved) if name in names)


def test_two_checkouts_share_what_is_the_same_and_nothing_else(checkouts: list[Path]) -> None:
    first, second = checkouts
    (first.parent / "cache").mkdir()
    assert make(first, VICTIM) == ["data", "poison", "victim"]
    edit(second / "workflow_scripts/attacks/badnets.py", lambda text: text + "\n# A comment.\n")
    assert make(second, VICTIM) == []
    assert (second / VICTIM).read_bytes() == (first / VICTIM).read_bytes()
    assert make(second, PUBLISHED.format(0.5, 1)) == ["poison"], "another seed"
    assert make(second, PUBLISHED.format(0.25, 0)) == ["poison"], "another ratio"
    set_config(second, crop=1)
    assert make(second, VICTIM) == ["victim"], "another setting"
    edit(second / "workflow_scripts/attacks/badnets.py", lambda text: text.replace("255", "254"))
    assert make(second, PUBLISHED.format(0.5, 0)) == ["poison"], "other code"
    write_raw(second / "raw.parquet", shade=8)
    shutil.copystat(first / "raw.parquet", second / "raw.parquet")
    assert make(second, PUBLISHED.format(0.5, 0)) == ["data", "poison"], "other data, of the same size and time"
    shutil.rmtree(second / "results")
    assert make(second, PUBLISHED.format(0.5, 0)) == []
    keep_by_dvc(second, PUBLISHED.format(0.5, 0))


def keep_by_dvc(folder: Path, target: str) -> None:
    """DVC takes what a link leads to, puts a copy in its place, and leaves the cache as it is."""
    kept, cache = (folder / target).read_bytes(), folder.parent / "cache"
    before = {path.name: path.read_bytes() for path in cache.iterdir()}
    assert (folder / target).is_symlink()
    call(folder, "git", "init", "-q")
    call(folder, "dvc", "init", "-q")
    call(folder, "dvc", "add", "-q", "results/artifacts")
    assert not (folder / target).is_symlink() and (folder / target).read_bytes() == kept
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == before
    assert make(folder, target) == [] and "Nothing to be done" in snakemake(folder, "-n", "--", target)


def test_what_stands_for_files_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their content, wherever they lie; what was made of just them keeps what it says when they are gone, and so does
    what a job made that downloaded them itself."""
    monkeypatch.setattr(sources, "KNOWN", tmp_path / "known.json")
    for name, text in (("one", "a"), ("two", "a"), ("three", "b")):
        (tmp_path / name / "raw" / "below").mkdir(parents=True)
        (tmp_path / name / "raw" / "below" / "file").write_text(text)
    one, two, three = (hash_content((tmp_path / name / "raw",)) for name in ("one", "two", "three"))
    assert one == two != three and one and hash_content((tmp_path / "four",)) == ""
    assert hash_content((tmp_path / "one" / "raw", tmp_path / "four")) == ""
    for litter in (".DS_Store", "Thumbs.db", "@eaDir/file"):
        (tmp_path / "two" / "raw" / litter).parent.mkdir(exist_ok=True)
        (tmp_path / "two" / "raw" / litter).write_text("left by a file manager")
    hash_content.cache_clear()
    assert hash_content((tmp_path / "two" / "raw",)) == one
    made, loaded = tmp_path / "made.parquet", tmp_path / "loaded.parquet"
    write_table(made, pa.table({}), {"sources": one, "found": one})
    write_table(loaded, pa.table({}), {"sources": "", "found": one})
    there, other, gone = ((tmp_path / name / "raw",) for name in ("one", "three", "four"))
    assert [agree(paths, str(made)) for paths in (there, other, gone)] == [one, three, one]
    assert [agree(paths, str(loaded)) for paths in (there, other, gone)] == ["", three, ""]
    assert [agree(paths, str(tmp_path / "nothing.parquet")) for paths in (there, gone)] == [one, ""]
