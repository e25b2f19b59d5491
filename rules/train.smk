# One job per split, variant and seed.


rule resolve_variant:
    output:
        f"{ROOT}/variants/{{variant}}.json",
    log:
        f"{ROOT}/logs/resolve_variant/{{variant}}.log",
    benchmark:
        f"{ROOT}/benchmarks/resolve_variant/{{variant}}.tsv"
    localrule: True
    conda:
        "../envs/sspipe.yaml"
    params:
        settings=variant_settings,
    shell:
        "python -m sspipe resolve-variant --settings {params.settings:q} --out {output:q} > {log:q} 2>&1"


rule train:
    input:
        settings=f"{ROOT}/variants/{{variant}}.json",
        split=f"{ROOT}/splits/{{split}}.parquet",
        statistics=f"{ROOT}/statistics/{{split}}.json",
        packs=manifests(),
        weights=initial_weights,
    output:
        model=f"{ROOT}/train/{RUN}/model.safetensors",
        metrics=f"{ROOT}/train/{RUN}/metrics.jsonl",
        record=f"{ROOT}/train/{RUN}/train.json",
    log:
        f"{ROOT}/logs/train/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/train/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    shell:
        "python -m sspipe train --split {wildcards.split} --variant {wildcards.variant} --seed {wildcards.seed}"
        " --settings {input.settings:q} --split-table {input.split:q} --statistics {input.statistics:q}"
        " --packs {input.packs:q} --threads {threads} --out-model {output.model:q} --out-metrics {output.metrics:q}"
        " --out-record {output.record:q} > {log:q} 2>&1"
