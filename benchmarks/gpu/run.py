"""What a GPU makes of this project, in nine minutes and without a network.

    python -m benchmarks.gpu.run DATA FOLDER [BACKDOORBENCH]
    python -m benchmarks.gpu.run tiny FOLDER

DATA: the folder that holds `cifar10_jpeg.parquet`, with the columns split, index, label and image. FOLDER gets
`gpu.json` and `gpu.md`, written anew with every row. BACKDOORBENCH: a checkout of SCLBD/BackdoorBench, whose own loop
is timed beside this one. `tiny` tries all of it out on digits and a narrow network, in a minute and without a GPU. A
section that fails or exceeds its time says so in a row, and the others go on.
"""

import functools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu import floor, official
from benchmarks.gpu.beside import measure_beside, measure_starts
from benchmarks.gpu.cells import measure_defense, measure_victim
from benchmarks.gpu.device import measure_device
from benchmarks.gpu.processes import run_section
from benchmarks.gpu.report import to_markdown
from benchmarks.gpu.setting import Measure, Setting, prepare
from benchmarks.gpu.speed import measure_kernels, measure_loop

LIMIT = 530.0
"""Seconds of all sections together: nine minutes, less what ending takes."""
SECTIONS: dict[str, tuple[Measure, float]] = {
    "device": (measure_device, 30),
    "floor": (floor.measure, 30),
    "loop": (measure_loop, 90),
    "official": (official.measure, 60),
    "victim": (measure_victim, 75),
    "tsbd": (functools.partial(measure_defense, "tsbd"), 75),
    "fmp": (functools.partial(measure_defense, "fmp"), 60),
    "anp": (functools.partial(measure_defense, "anp"), 60),
    "beside": (measure_beside, 75),
    "kernels": (measure_kernels, 40),
    "starts": (measure_starts, 40),
    "eigenguard": (functools.partial(measure_defense, "eigenguard"), 120),
}
"""In the order of their worth, each with its function and the seconds that it may take at most."""


def main(data: str, folder: str, backdoorbench: str = "") -> None:
    """Run every section, and write what is known after each row."""
    started, results = time.monotonic(), Path(folder)
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as shared:
        setting = prepare(data, Path(shared), data == "tiny", backdoorbench)
        found: dict[str, Any] = {}
        for name in SECTIONS:
            found[name] = {"rows": []}
            measure_section(name, setting, started, found, results)
    print(f"\nAll of it: {time.monotonic() - started:.0f} s.")


def measure_section(name: str, setting: Setting, started: float, found: dict[str, Any], results: Path) -> None:
    """Add a section to what has been found, and print it when it ends."""
    measure, most = SECTIONS[name]
    begun = time.monotonic()
    for row in run_section(measure, setting, min(most, max(0.0, LIMIT - (begun - started)))):
        found[name]["rows"].append(row)
        found[name]["seconds"] = round(time.monotonic() - begun, 1)
        write(found, results)
    print(to_markdown({name: found[name]}), flush=True)


def write(found: dict[str, Any], results: Path) -> None:
    (results / "gpu.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (results / "gpu.md").write_text(f"# On a GPU\n\n{to_markdown(found)}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
