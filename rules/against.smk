rule against:    # snakemake against --config commit=HEAD~1
    input: metrics=lambda w: [f"results/metrics/{name}.parquet" for name in all_studies()],
           costs=lambda w: [f"results/costs/{name}.parquet" for name in all_studies()]
    output: parquet="results/against.parquet", md="results/against.md"
    log: LOGS + "/against.log"
    params: commit=CONFIG.commit, head=lambda w: time.time()    # a name like HEAD~1 is another commit tomorrow
    script: "../workflow_scripts/against.py"
