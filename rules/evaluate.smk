import functools


def cells_shown(study):
    """The cells of a study to be shown: all, or with `--config partial=true` those that have been evaluated."""
    return [cell for cell in cells_of(study) if not CONFIG.partial or exists(metrics_of(cell))]


def files_of_cells(path):
    """Input function: a file of each cell of a study to be shown."""
    return lambda w: [path(cell) for cell in cells_shown(w.study)]


@functools.cache
def costs_behind(cell):
    """Where the costs stand of what is behind a cell, by the column that they are the sum of: what the attacker alone
    asks for is of the poisoning."""
    attackers = attackers_file(cell, "poison.parquet")
    own = {} if spellings.is_implant(cell.attack) else {attackers.path: attackers}
    defenders = trained_behind([metrics_file(cell)], but=("poison", "implant"))
    others = {path: file for path, file in trained_behind([attackers]).items() if path not in defenders}
    return {"poisoning_seconds": [costs_of(file) for file in (own | others).values()],
            "training_seconds": [costs_of(victim(cell))],
            "auxiliary_seconds": [costs_of(file) for file in defenders.values()]}


def trained_behind(files, but=()):
    """The auxiliaries and the detectors behind these files, but for what steps of these names alone ask for."""
    return {path: file for path, file in files_behind(files, but).items() if file.step in ("train_auxiliary", "detect")}


def costs_of(file):
    """Where it stands what a file has cost."""
    return file.path.rpartition("/")[0] + "/costs.json"


def defenses_of(cells):
    """The defenses of these cells, whose classes say what `collect` reads them against."""
    return {("defenses", spellings.method_name(cell.defense)) for cell in cells}


def metrics_of(cell):
    """Where the rows of a cell stand."""
    return metrics_file(cell).path


rule evaluate:
    input: unpack(inputs_of("evaluate"))
    output: predictions=DEFENSE + "/predictions.parquet", metrics=DEFENSE + "/metrics.json"
    log: log_of("evaluate", DEFENSE)
    group: CELLS_OF_VICTIM
    params: made=made("evaluate"), root=ROOT
    resources: **growing_resources(4000, 10), gpu_place=1
    script: "../workflow_scripts/evaluate.py"


rule collect:
    input: metrics=files_of_cells(metrics_of), costs=files_of_cells(lambda cell: costs_of(evaluated_model(cell))),
           behind=lambda w: [path for cell in cells_shown(w.study) for own in costs_behind(cell).values() for path in own]
    output: metrics="results/metrics/{study}.parquet", costs="results/costs/{study}.parquet",
            summary="results/summary/{study}.json", rows=directory("results/summary/{study}.rows")
    log: LOGS + "/collect/{study}.log"
    params: expected=lambda w: provenance(cells_of(w.study)), root=ROOT,
            code=lambda w: fingerprint.of_step("collect", *defenses_of(cells_of(w.study))),
            cells=lambda w: [list(cell) for cell in cells_shown(w.study)],
            behind=lambda w: [costs_behind(cell) for cell in cells_shown(w.study)],
            study=lambda w: all_studies()[w.study].as_json(),
            references=lambda w: {cell.dataset: CONFIG.reference(cell.dataset) for cell in cells_of(w.study)}
    resources: **growing_resources(4000, 30)
    script: "../workflow_scripts/collect.py"
