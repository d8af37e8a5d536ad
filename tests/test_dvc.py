"""DVC: another clone goes on with what one has pushed."""

import re
from pathlib import Path

import pytest
from checkout import HERE, REPORT, call, edit, planned, snakemake

KEPT = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".gitignore")
"""The files that say what DVC keeps and what git does."""


@pytest.fixture
def pulled(copy: Path, tmp_path: Path) -> Path:
    """A clone of a repository of the results, which came with `dvc pull`."""
    for name in KEPT:
        (copy / name).parent.mkdir(exist_ok=True)
        text = re.sub(r".*systems.*\n", "", (HERE / name).read_text())
        (copy / name).write_text(text.replace("quickstart", "tiny"))
    (copy / "pulled/studies.yaml").write_text("studies: [tiny]")
    call(copy, "git", "init", "-q")
    call(copy, "dvc", "remote", "add", "-d", "beside", "../remote")
    call(copy, "dvc", "commit", "-fq")
    call(copy, "git", "add", "-A")
    call(copy, "git", "commit", "-qm", "a")
    call(copy, "dvc", "push", "-q")
    call(tmp_path, "git", "clone", "-q", str(copy), "pulled")
    call(tmp_path / "pulled", "dvc", "pull", "-q")
    return tmp_path / "pulled"


def test_what_was_pulled_is_up_to_date_and_an_edit_reruns_its_cells(pulled: Path) -> None:
    snakemake(pulled, "--profile", "pulled")
    assert planned(pulled) == {}
    assert call(pulled, "dvc", "status").strip() == "Data and pipelines are up to date."
    edit(pulled / "workflow_scripts/defenses/clp.py", lambda text: text.replace("self.u,", "1.0 * self.u,"))
    assert planned(pulled) == {"defend": 3, "evaluate": 3, **REPORT}
