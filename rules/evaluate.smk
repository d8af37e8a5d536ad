import functools


def cells_shown(cells):
    """The cells to be shown: all, or with `--config partial=true` those that have been evaluated."""
    return [cell for cell in cells if not CONFIG.partial or exists(metrics_of(cell))]


def files_of_cells(path):
    """Input function: a file of each cell to be shown."""
    return lambda w: [path(cell) for cell in cells_shown(CELLS)]


@functools.cache
def costs_before(cell):
    """Where the costs stand of the auxiliaries and the detectors behind a cell."""
    return [costs_of(file) for file in artifacts_behind([cell]).values() if file.step in ("train_auxiliary", "detect")]


def costs_of(file):
    """Where it stands what a file has cost."""
    return file.path.rpartition("/")[0] + "/costs.json"


def defenses_of(cells):
    """The defenses of these cells, whose classes say what `collect` reads them against."""
    return {("defenses", catalog.method_name(cell.defense)) for cell in cells}


def metrics_of(cell):
    """Where the rows of a cell stand."""
    return f"{DEFENSE}/metrics.json".format(**cell._asdict())


rule evaluate:
    input: unpack(inputs_of("evaluate"))
    output: predictions=DEFENSE + "/predictions.parquet", metrics=DEFENSE + "/metrics.json"
    params: made=made("evaluate"), root=ROOT
    resources: **growing_resources(4000, 30)
    script: "../workflow_scripts/evaluate.py"


rule collect:
    input: metrics=files_of_cells(metrics_of), costs=files_of_cells(lambda cell: costs_of(evaluated_model(cell))),
           training=files_of_cells(lambda cell: costs_of(victim(cell))),
           before=lambda w: [path for cell in cells_shown(CELLS) for path in costs_before(cell)]
    output: metrics="results/metrics.parquet", costs="results/costs.parquet", summary="results/summary.json"
    params: expected=lambda w: provenance(CELLS), root=ROOT, code=lambda w: fingerprint.of_step("collect", *defenses_of(CELLS)),
            cells=lambda w: [list(cell) for cell in cells_shown(CELLS)],
            before=lambda w: [costs_before(cell) for cell in cells_shown(CELLS)],
            studies=lambda w: {name: [list(cell) for cell in study.cells] for name, study in STUDIES.items()}
    resources: **growing_resources(4000, 30)
    script: "../workflow_scripts/collect.py"
