"""The rules themselves, run by Snakemake in a copy of the checkout on a study of a few seconds."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from checkout import HERE, REPORT, TINY, VICTIM, copy_of_checkout, digests, edit, planned, pretend, shortened, snakemake

from workflow_scripts.common import catalog, config

PROBED: list[dict[str, Any]] = [
    {"model": "preact_small", "defense": ["none", "eigenguard"]},
    {"model": "probe+extractor~supervised", "defense": ["none", "holder"]},
]


def test_what_a_run_leaves(built: Path) -> None:
    table = pq.read_table(built / "results/metrics/tiny.parquet")
    rows = {(row["attack"], row["defense"]): row for row in table.to_pylist()}
    defenses = ("none", "clp", "abl", "clean", "plain")
    assert set(rows) == {(attack, defense) for attack in ("none", "badnets", "wanet") for defense in defenses}
    for (attack, defense), row in rows.items():
        assert row["acc_n"] == 450 and row["acc_low"] <= row["acc"] <= row["acc_high"]
        for key in ("asr", "der", "trigger_psnr", "trigger_rms", "trigger_ssim"):
            assert (row[key] is None) == (attack == "none")
        assert row["control"] == (defense in ("clean", "plain")) and "few_seeds" in row["checks"]
        assert json.loads(row["model_params"])["width"] == 4
        if defense in ("none", "plain") and attack != "none":
            assert row["der"] == 0.5, "of the model that a DER starts from"
    places = {
        key: {path: digest for path, digest in json.loads(row["digests"]).items() if "predictions" not in path}
        for key, row in rows.items()
    }
    assert places["badnets", "plain"] == places["badnets", "none"], "of a data poison, ordinary training is the victim"
    assert places["wanet", "plain"] != places["wanet", "none"], "WaNet's victim is not"
    assert [path for path in places["wanet", "plain"] if path.endswith("preact_small/retrained/victim.safetensors")]
    assert [
        path
        for path in places["wanet", "clean"]
        if path.endswith("none/ratio~0/seed~0/preact_small/victim.safetensors")
    ]
    costs = pq.read_table(built / "results/costs/tiny.parquet").to_pylist()
    assert len(costs) == 15 and all(row["training_seconds"] > 0 and row["peak_memory_mb"] > 100 for row in costs)
    summary = json.loads((built / "results/summary/tiny.json").read_text())
    assert set(summary) == {"none", "clp", "abl"} and set(summary["clp"]) == {"acc", "asr", "ra", "der"}
    lines = {p.stem: json.loads(p.read_text()) for p in (built / "results/summary/tiny.rows").glob("*.json")}
    assert lines == {name: {k: v for k, v in means.items() if v is not None} for name, means in summary.items()}
    made = {str(p.relative_to(built / "results")) for p in (built / "results").rglob("*") if p.is_file()}
    for end in ("parquet", "csv", "md", "tex"):
        assert f"tables/tiny.{end}" in made
    for figure in ("heatmap", "tradeoff", "triggers"):
        assert {f"figures/tiny_{figure}.png", f"figures/tiny_{figure}.pdf"} <= made
    hidden = {Path(name).name for name in made if Path(name).name.startswith(".")}
    assert hidden == {".snakemake_timestamp"}, "temporary files are left"


def test_a_number_of_the_table_is_that_of_its_predictions(built: Path) -> None:
    answers = pq.read_table(built / VICTIM / "clp/predictions.parquet").to_pandas()
    test, triggered = (answers[answers.images == name] for name in ("test", "triggered"))
    row = json.loads((built / VICTIM / "clp/metrics.json").read_text())[0]
    assert row["acc"] == (test.prediction == test.label).mean()
    assert row["asr"] == (triggered.prediction == 0).mean() and 0 not in set(triggered.label)
    assert row["ra"] == (triggered.prediction == triggered.label).mean()


def test_nothing_to_do_and_a_comment_is_nothing(copy: Path) -> None:
    assert "Nothing to be done" in snakemake(copy, "-n")
    for path in ("defenses/clp.py", "attacks/badnets.py", "training/loop.py", "defend.py", "train.py"):
        edit(copy / "workflow_scripts" / path, lambda text: text + "\n# a remark\n")
    edit(
        copy / "workflow_scripts/defenses/clp.py",
        lambda text: text.replace("Silence the channels", "Quiet the channels"),
    )
    edit(copy / "workflow_scripts/defend.py", lambda text: text.replace('"""Rule', '"""The rule'))
    assert "Nothing to be done" in snakemake(copy, "-n")


def test_editing_a_defense_reruns_its_cells(copy: Path) -> None:
    edit(copy / "workflow_scripts/defenses/clp.py", lambda text: text.replace("self.u,", "1.0 * self.u,"))
    assert planned(copy) == {"defend": 3, "evaluate": 3, **REPORT}


def test_editing_an_attack_reruns_what_rests_on_it(copy: Path) -> None:
    edit(copy / "workflow_scripts/attacks/badnets.py", lambda text: text.replace("= 255", "= 254"))
    expected = {"poison": 1, "train": 1, "defend": 2, "evaluate": 5, "analyze": 1, **REPORT}
    assert planned(copy) == expected


def test_editing_the_loop_reruns_training(copy: Path) -> None:
    edit(copy / "workflow_scripts/training/loop.py", lambda text: text.replace("model.train()", "model.train(True)"))
    assert planned(copy) == {
        "train": 2,
        "implant": 1,
        "retrain": 1,
        "defend": 6,
        "evaluate": 15,
        "analyze": 1,
        **REPORT,
    }


def test_a_setting_reruns_its_method(copy: Path) -> None:
    edit(copy / "config.yaml", lambda text: text.replace("isolation_epochs: 1", "isolation_epochs: 2"))
    assert planned(copy) == {"defend": 3, "evaluate": 3, **REPORT}


def test_a_probe_stands_on_its_extractor_and_a_filter_is_asked_by_protocol(copy: Path) -> None:
    """Both through the whole of the workflow: trained, defended, saved, loaded again and evaluated."""
    grids = [TINY["grid"] | {"attack": "badnets", **own} for own in PROBED]
    table = {"rows": "attack", "columns": ["model", "defense"], "values": ["acc", "asr"]}
    study = {"grid": grids, "table": table, "figure": ["heatmap", "coverage", "sweep"]}
    (copy / "studies/tiny.yaml").write_text(yaml.safe_dump(study))
    snakemake(copy)
    rows = pq.read_table(copy / "results/metrics/tiny.parquet").to_pylist()
    probes = [row for row in rows if row["model"] == "probe+extractor~supervised"]
    assert {row["defense"] for row in probes} == {"none", "holder", "clean"}
    assert all("auxiliaries/supervised/seed~0/model.safetensors" in row["digests"] for row in probes)
    asked = [row["protocol"] for row in rows if row["defense"] == "eigenguard"]
    assert sorted(asked) == ["homogeneous", "mixed", "running"]
    costs = pq.read_table(copy / "results/costs/tiny.parquet").to_pylist()
    assert all((row["auxiliary_seconds"] > 0) == row["model"].startswith("probe") for row in costs)
    assert all(row["poisoning_seconds"] > 0 for row in costs)
    assert "eigenguard [mixed]" in (copy / "results/tables/tiny.md").read_text()
    (scores,) = (copy / "results/analyses/neuron_scores").rglob("probe+extractor~supervised/holder.parquet")
    assert len(pq.read_table(scores)) == 512 + 256, "every neuron of the head"
    assert "Nothing to be done" in snakemake(copy, "-n")


def test_what_belongs_to_a_study_depends_on_its_cells_alone(built: Path, tmp_path: Path) -> None:
    """Two studies of common victims, one of which has what the other's checks would look at: in either order and in one
    call, and a third time on a dataset that is named."""
    pruned = ["none", "clp", {"random_pruning": {"share": 0.5}}]
    grid = TINY["grid"] | {"attack": "badnets", "defense": pruned}
    orders = {"after": [["tiny"], ["other"]], "before": [["other"], ["tiny"]], "together": [["tiny", "other"]]}
    found = {}
    for name, calls in orders.items():
        folder = Path(shutil.copytree(built, tmp_path / name))
        (folder / "studies/other.yaml").write_text(yaml.safe_dump({**TINY, "grid": grid, "figure": "heatmap"}))
        if name != "after":
            for part in ("metrics", "summary", "tables", "figures"):
                shutil.rmtree(folder / "results" / part)
        for studies in calls:
            snakemake(folder, "--config", f"studies={json.dumps(studies)}")
        assert "Nothing to be done" in snakemake(folder, "-n", "--config", 'studies=["tiny"]')
        found[name] = {path: digest for path, digest in digests(folder).items() if "/artifacts/" not in path}
    assert found["after"] == found["before"] == found["together"]
    snakemake(tmp_path / "after", "--config", "dataset=digits")
    again = digests(tmp_path / "after")
    assert {path: again[path] for path in found["after"]} == found["after"]
    assert "run on digits" in (tmp_path / "after/results/tables/digits/tiny.md").read_text()


def test_a_plan_says_how_much_there_is_to_do(copy: Path) -> None:
    shutil.rmtree(copy / VICTIM / "clp")
    said = re.findall("backstop: (.*)", snakemake(copy, "-n"))
    assert said[0] == "tiny: 9 cells and 6 that they are read against, 1 to evaluate" and "at a time" in said[1]


def test_adding_a_defense_runs_only_its_cells(copy: Path) -> None:
    edit(copy / "studies/tiny.yaml", lambda text: text.replace("- abl", "- abl\n  - ft"))
    assert planned(copy) == {"draw_holdout": 1, "defend": 3, "evaluate": 3, **REPORT}


def test_an_edit_after_pip_install_takes_effect(tmp_path: Path) -> None:
    """An installed copy would shadow the checkout: nothing but metadata may be installed."""
    folder = copy_of_checkout(tmp_path)
    (folder / "README.md").write_text("")
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(folder)]
    subprocess.run(pip, check=True, capture_output=True)
    assert [p.name for p in target.iterdir() if not p.name.endswith(".dist-info")] == []


def test_two_clones_make_the_same_bytes(built: Path, tmp_path: Path) -> None:
    folder = copy_of_checkout(tmp_path)
    snakemake(folder)
    first, second = digests(built), digests(folder)
    assert first == second and "results/metrics/tiny.parquet" in first


def test_no_defense_can_see_the_trigger(copy: Path) -> None:
    """Truth and test images emptied, every defense makes the same weights, bit for bit."""
    defenses = [d for d in catalog.list_methods("defenses") if not catalog.describe("defenses", d).traits["control"]]
    goals = [
        f"{place}/{d}/model.safetensors" for place in (VICTIM, VICTIM.replace("badnets", "wanet")) for d in defenses
    ]
    snakemake(copy, *goals)
    before = [hashlib.sha256((copy / goal).read_bytes()).hexdigest() for goal in goals]
    secrets = [*(copy / "results").rglob("truth.parquet"), *(copy / "results").rglob("test.parquet")]
    assert len(secrets) == 4
    for path in secrets:
        times = path.stat()
        path.write_bytes(b"")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for goal in goals:
        (copy / goal).unlink()
    snakemake(copy, "--allowed-rules", "defend", "draw_holdout", "--", *goals)
    assert before == [hashlib.sha256((copy / goal).read_bytes()).hexdigest() for goal in goals]


def test_results_are_read_as_their_readme_says(built: Path) -> None:
    (code,) = re.findall("```python\n(.*?)```", (HERE / "results/README.md").read_text(), re.S)
    code = code.replace("results/artifacts", f"{built}/results/artifacts").replace(
        '"poisoned.png"', "'/dev/null', 'PNG'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0 and "tensor([" in done.stdout, done.stderr


def test_partial_tables_name_the_rest(copy: Path) -> None:
    shutil.rmtree(copy / VICTIM / "clp")
    snakemake(copy, "--config", "partial=true", "--", "results/tables/tiny.md")
    text = (copy / "results/tables/tiny.md").read_text()
    assert "The table is partial: 1 of 9 cells have not been computed," in text and not (copy / VICTIM / "clp").exists()


def test_what_is_partial_computes_nothing(tmp_path: Path) -> None:
    """Figures and analyses that ask for what defenses left, of a study of which there is nothing."""
    folder = copy_of_checkout(tmp_path)
    wanted = {"figure": ["heatmap", "agreement"], "analysis": "unit_scores"}
    (folder / "studies/tiny.yaml").write_text(yaml.safe_dump({**TINY, **wanted}))
    assert set(planned(folder)) >= {"train", "analyze", "plot"}
    assert set(planned(folder, "--config", "partial=true")) == {"all", "collect", "tabulate"}
    of_logs = {"grid": {**TINY["grid"], "defense": "none"}, "figure": "score_density"}
    (folder / "studies/tiny.yaml").write_text(yaml.safe_dump(of_logs))
    assert planned(folder)["plot"] == 1, "it says itself that no cell has what it reads"


def test_what_an_attacker_trains_is_no_cost_of_the_defender(tmp_path: Path) -> None:
    folder = copy_of_checkout(tmp_path)
    cell = ("digits", "probe+extractor~supervised", "ssba", "0.1", "0", "filter")
    asking = f"\nprint('BEHIND', json.dumps(costs_behind(studies.Cell(*{cell}))))"
    edit(folder / "Snakefile", lambda text: f"import json\n{text}{asking}")
    behind = json.loads(re.findall("BEHIND (.*)", snakemake(folder, "-n"))[0])
    assert [path.split("/")[-3] for path in behind["poisoning_seconds"]] == ["ratio~0.1", "stego_encoder"]
    assert {path.split("/")[-3] for path in behind["auxiliary_seconds"]} == {"supervised", cell[1]}


def test_defended_weights_can_be_temporary(copy: Path) -> None:
    shutil.rmtree(copy / VICTIM / "clp")
    edit(copy / "config.yaml", lambda text: text.replace("keep_models: true", "keep_models: false"))
    snakemake(copy)
    assert (copy / VICTIM / "clp/metrics.json").exists() and not (copy / VICTIM / "clp/model.safetensors").exists()
    assert (copy / VICTIM / "victim.safetensors").exists() and "Nothing to be done" in snakemake(copy, "-n")


@pytest.mark.parametrize("where", [[], ["dataset=digits"]])
def test_every_study_can_be_planned_as_it_stands_and_on_digits(where: list[str], tmp_path: Path) -> None:
    folder = copy_of_checkout(tmp_path)
    pretend(folder, config.read(shortened()))
    studies = [str(p.relative_to(HERE / "studies"))[:-5] for p in (HERE / "studies").rglob("*.yaml")]
    jobs = planned(folder, "--config", f"studies={json.dumps(studies)}", *where)
    assert jobs["evaluate"] > 1000 and jobs["analyze"] > 100 and jobs["plot"] > len(studies)


def test_a_parse_does_not_work_out_what_collect_expects(tmp_path: Path) -> None:
    """Every job on a cluster parses the Snakefile again."""
    folder = copy_of_checkout(tmp_path)
    for rules, function in (("provenance.smk", "def provenance(cells):"), ("evaluate.smk", "def costs_behind(cell):")):
        edit(folder / "rules" / rules, lambda text, f=function: text.replace(f, f"{f}\n    raise AssertionError"))  # type: ignore[misc]
    assert planned(folder, "results/artifacts/digits/train.parquet") == {"prepare_data": 1}


def test_a_large_grid_is_planned_without_torch(tmp_path: Path) -> None:
    folder = copy_of_checkout(tmp_path)
    (folder / "torch.py").write_text("raise ImportError('planning must not import torch')")
    attacks = [{"badnets": {"target": list(range(10))}}]
    defenses = [{"clp": {"u": [i / 4 for i in range(20)]}}]
    grid = {**TINY["grid"], "attack": attacks, "defense": defenses, "seed": [0, 1, 2, 3, 4]}
    (folder / "studies/tiny.yaml").write_text(yaml.safe_dump({**TINY, "grid": grid}))
    assert planned(folder)["defend"] == 10 * 20 * 5


def test_a_clean_head_stands_on_the_extractor_of_clean_images(tmp_path: Path) -> None:
    folder = copy_of_checkout(tmp_path)
    model = "probe+extractor~simclr_poisoned"
    grid = {**TINY["grid"], "model": model, "attack": "badnets", "defense": ["none", "clean"]}
    (folder / "studies/tiny.yaml").write_text(yaml.safe_dump({**TINY, "grid": grid}))
    plan = snakemake(folder, "-n", "--quiet", "host").split("\nrule ")
    for defense, attack in (("none", "badnets/ratio~0.1"), ("clean", "none/ratio~0")):
        place = f"badnets/ratio~0.1/seed~0/{model}/{defense}/metrics.json"
        (job,) = (job for job in plan if job.startswith("evaluate:") and place in job)
        read = re.findall(r"digits/(\S+)/auxiliaries/simclr_poisoned/model", job.partition("output:")[0])
        assert set(read) == {f"{attack}/seed~0"}
