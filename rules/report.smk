@functools.cache
def all_tables():
    """The tables, each with its study, by the name of its files."""
    return Known({table.stem(study.name): (study, table) for study in all_studies().values() for table in study.tables})


PUBLISHED = "workflow_scripts/reporting/reported.csv"    # an input: an edit to it makes again what shows it


def table_inputs(w):
    """The study's metrics and, beside them, published numbers or its costs."""
    study, table = all_tables()[w.table]
    others = {"reported": {"published": PUBLISHED}, "costs": {"costs": f"results/costs/{study.name}.parquet"}}
    return {"metrics": f"results/metrics/{study.name}.parquet", **others.get(table.kind, {})}


def set_otherwise(w):
    """Parameter: what the methods of a study are set to otherwise than by their own defaults, where a table says so."""
    study, table = all_tables()[w.table]
    return PLAN.set_otherwise(study) if table.kind == "reported" else {}


def describe_figure(spelling):
    """What its source says of a figure."""
    return catalog.describe("figures", spellings.method_name(spelling))


def analyses_of_figure(figure, cells):
    """The files of the analyses that the figure's signature names, over these cells' victims (some figures: at the first seed)."""
    if figure.traits.get("first_seed"):
        first = {}
        for cell in cells:
            first.setdefault(cell._replace(seed=""), cell)
        cells = list(first.values())
    return {name: analysis_files(name, cells) for name in figure.asks if name in catalog.list_methods("analyses")}


def figure_inputs(w):
    """The costs, the published numbers and the analyses that the figure's signature names."""
    figure, files = describe_figure(w.figure), {"published": PUBLISHED, "costs": f"results/costs/{w.study}.parquet"}
    named = {name: path for name, path in files.items() if name in figure.asks}
    return named | analyses_of_figure(figure, all_studies()[w.study].cells)


def figures_shown(study):
    """The figures of a study: all, or with `--config partial=true` those that there is something for."""
    if not CONFIG.partial:
        return study.figures
    there = any(exists(metrics_of(cell)) for cell in study.cells)
    return [figure for figure in study.figures if there and all(analyses_of_figure(describe_figure(figure), study.cells).values())]


rule tabulate:
    input: unpack(table_inputs)
    output: parquet="results/tables/{table}.parquet", csv="results/tables/{table}.csv",
            md="results/tables/{table}.md", tex="results/tables/{table}.tex"
    log: LOGS + "/tabulate/{table}.log"
    params: study=lambda w: all_tables()[w.table][0].as_json(), kind=lambda w: all_tables()[w.table][1].kind,
            otherwise=set_otherwise, code=lambda w: fingerprint.of_step("tabulate")
    script: "../workflow_scripts/tabulate.py"


rule plot:
    input: unpack(figure_inputs), metrics="results/metrics/{study}.parquet"
    output: png="results/figures/{study}_{figure}.png", pdf="results/figures/{study}_{figure}.pdf"
    log: LOGS + "/plot/{study}_{figure}.log"
    params: study=lambda w: all_studies()[w.study].as_json(),
            options=lambda w: spellings.resolve("figures", w.figure),
            code=lambda w: fingerprint.of_step("plot", ("figures", spellings.method_name(w.figure)))
    script: "../workflow_scripts/plot.py"


def all_results(w):
    """Input function: what the studies become. The cells are named themselves, or one that was deleted would not come
    back."""
    for name, study in all_studies().items():
        yield from (f"results/{file}" for file in (f"metrics/{name}.parquet", f"costs/{name}.parquet", f"summary/{name}.json"))
        yield from map(metrics_of, cells_shown(name))
        for table in study.tables:
            yield from (f"results/tables/{table.stem(name)}.{end}" for end in ("parquet", "csv", "md", "tex"))
        yield from (f"results/figures/{name}_{figure}.{end}" for figure in figures_shown(study) for end in ("png", "pdf"))
        yield from (path for analysis in study.analyses for path in analysis_files(analysis, study.cells))
