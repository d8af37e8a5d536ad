"""The measurements for a GPU, tried out on a CPU: all of them run, and what they save makes sense."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import HERE

from benchmarks.gpu.processes import run_section
from benchmarks.gpu.report import to_markdown
from benchmarks.gpu.run import SECTIONS
from benchmarks.gpu.setting import Row, Setting
from workflow_scripts.common.images import Images


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-m", "benchmarks.gpu.run", "tiny", str(folder)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def rows(results: Path) -> dict[str, list[Row]]:
    found = json.loads((results / "gpu.json").read_text())
    return {name: section["rows"] for name, section in found.items()}


def test_every_section_is_saved_and_none_failed(results: Path, rows: dict[str, list[Row]]) -> None:
    assert list(rows) == list(SECTIONS) and all(rows.values())
    assert not {name: own for name, own in rows.items() if any("failed" in row for row in own)}
    assert all(f"## {name}\n" in (results / "gpu.md").read_text() for name in SECTIONS)
    assert "skipped" in rows["official"][0]


def test_the_cells_are_trained_and_evaluated(rows: dict[str, list[Row]]) -> None:
    cells = [row for name in ("victim", "tsbd", "fmp", "anp", "eigenguard") for row in rows[name]]
    assert len(cells) == 4 + 3, "EigenGuard is asked in three ways"
    assert all(0 <= row[key] <= 1 for row in cells for key in ("acc", "asr", "ra"))
    assert all(row["seconds"] > 0 for row in cells) and rows["victim"][0]["acc"] > 0.2


def test_speeds_are_below_the_floor(rows: dict[str, list[Row]]) -> None:
    floor = {row["precision"]: row for row in rows["floor"]}
    assert floor["fp32"]["GFLOP an image"] == floor["bf16"]["GFLOP an image"] > 0
    assert 1.5 < floor["fp32"]["MB an image"] / floor["bf16"]["MB an image"] < 2.5
    assert len(rows["loop"]) == 8
    assert all(0 < row["images/s"] < floor[row["precision"]]["images/s at most"] for row in rows["loop"])
    assert all(row["ms of kernels"] > 0 for row in rows["kernels"])
    assert [row["cells"] for row in rows["beside"]] == [1, 2, 3] and rows["beside"][0]["of one"] == 1
    seconds = [row["seconds"] for row in rows["starts"]]
    assert 0 < seconds[0] < min(seconds[1:])


@pytest.mark.parametrize(
    ("ending", "said"),
    [("raise", "ValueError: no such thing"), ("hang", "stopped after 1 s"), ("exit", "ended with 3"), ("end", "")],
)
def test_what_a_section_has_measured_stays_however_it_ends(
    ending: str, said: str, digits: tuple[Images, Images], tmp_path: Path
) -> None:
    def measure(setting: Setting) -> Iterator[Row]:
        yield {"first": 1.5}
        if ending == "raise":
            raise ValueError("no  such thing")
        if ending == "hang":
            time.sleep(600)
        if ending == "exit":
            raise SystemExit(3)

    found: list[Any] = list(run_section(measure, Setting(*digits, tmp_path, tiny=True), 1 if ending == "hang" else 60))
    assert found == [{"first": 1.5}, *([{"failed": said}] if said else [])]
    assert to_markdown({"odd": {"rows": found, "seconds": 1}}).count("\n| 1.5 |") == 1
