def present(cells):
    """The cells to be shown: all, or with `--config partial=true` those that have been evaluated."""
    return [cell for cell in cells if not CONFIG.partial or exists(f"{DEFENSE}/metrics.json".format(**cell._asdict()))]


def extractor_costs(cell):
    """What the training of the network below a cell's model cost, as a list of one path or none."""
    name = method("model", cell)[1].get("extractor")
    return [f"{auxiliary(cell, name)}/costs.json".format(**cell._asdict())] if name else []


def of_cells(kept):
    """A path of each cell to be shown."""
    return [kept(cell).format(**cell._asdict()) for cell in present(CELLS)]


rule evaluate:
    input: unpack(asked("model")), defended=judged, test=DATASET + "/test.parquet", truth=lambda w: attacked(w, "truth.parquet")
    output: predictions=DEFENSE + "/predictions.parquet", metrics=DEFENSE + "/metrics.json"
    params: made=made("evaluate"), root=ROOT
    resources: **costing(4000, 30)
    script: "../workflow_scripts/evaluate.py"


rule collect:
    input: metrics=of_cells(lambda cell: DEFENSE + "/metrics.json"),
           costs=of_cells(lambda cell: judged(cell).rpartition("/")[0] + "/costs.json"),
           training=of_cells(lambda cell: VICTIM + "/costs.json"),
           extractors=[path for cell in present(CELLS) for path in extractor_costs(cell)]
    output: metrics="results/metrics.parquet", costs="results/costs.parquet", summary="results/summary.json"
    params: expected=provenance(CELLS), root=ROOT, code=fingerprint.of_code("collect"),
            cells=[list(cell) for cell in present(CELLS)], extractors=[extractor_costs(cell) for cell in present(CELLS)],
            studies={name: [list(cell) for cell in study.cells] for name, study in STUDIES.items()}
    resources: **costing(4000, 30)
    script: "../workflow_scripts/collect.py"
