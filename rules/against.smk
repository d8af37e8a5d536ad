rule against:    # snakemake against --config commit=HEAD~1
    input: metrics=[f"results/metrics/{name}.parquet" for name in STUDIES],
           costs=[f"results/costs/{name}.parquet" for name in STUDIES]
    output: parquet="results/against.parquet", md="results/against.md"
    log: LOGS + "/against.log"
    params: commit=CONFIG.commit, head=lambda w: time.time()    # a name like HEAD~1 is another commit tomorrow
    script: "../workflow_scripts/against.py"
