rule prepare_data:
    output: train=DATASET + "/train.parquet", test=DATASET + "/test.parquet", reserve=DATASET + "/reserve.parquet"
    log: log_of("prepare_data", DATASET)
    params: made=made("prepare_data"), loader=lambda w: CONFIG.loader(w.dataset)[0]
    resources: **growing_resources(4000, 30)
    script: "../workflow_scripts/prepare_data.py"


rule draw_holdout:
    input: train=DATASET + "/train.parquet", reserve=DATASET + "/reserve.parquet"
    output: DATASET + "/holdout/seed~{seed}.parquet"
    log: log_of("draw_holdout", DATASET + "/seed~{seed}")
    params: made=made("draw_holdout"), loader=lambda w: CONFIG.loader(w.dataset)[0]
    resources: **growing_resources(2000, 10)
    script: "../workflow_scripts/draw_holdout.py"
