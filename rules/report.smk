TABLES = [f"results/tables/{s.name}.{end}" for s in STUDIES.values() if s.table for end in ("parquet", "csv", "md", "tex")]
FIGURES = [f"results/figures/{s.name}_{figure}.{end}" for s in STUDIES.values() for figure in s.figures for end in ("png", "pdf")]


def figure_inputs(w):
    """The analyses that the figure's signature names, over the study's victims (some figures: of its first seed)."""
    figure, cells = catalog.describe("figures", catalog.method_name(w.figure)), STUDIES[w.study].cells
    if figure.traits.get("first_seed"):
        cells = [cell for cell in cells if cell.seed == cells[0].seed]
    return {name: analysis_files(name, cells) for name in figure.asks if name in catalog.list_methods("analyses")}


rule tabulate:
    input: "results/metrics.parquet"
    output: parquet="results/tables/{study}.parquet", csv="results/tables/{study}.csv",
            md="results/tables/{study}.md", tex="results/tables/{study}.tex"
    params: study=lambda w: STUDIES[w.study].as_json(), code=lambda w: fingerprint.of_step("tabulate")
    script: "../workflow_scripts/tabulate.py"


rule plot:
    input: unpack(figure_inputs), metrics="results/metrics.parquet"
    output: png="results/figures/{study}_{figure}.png", pdf="results/figures/{study}_{figure}.pdf"
    params: study=lambda w: STUDIES[w.study].as_json(),
            options=lambda w: catalog.resolve("figures", w.figure),
            code=lambda w: fingerprint.of_step("plot", ("figures", catalog.method_name(w.figure)))
    script: "../workflow_scripts/plot.py"
