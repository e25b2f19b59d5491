# One job per split, variant and seed. Under Slurm it is submitted by submitit, which can end, save and queue it again as
# often as it takes; what runs on the login node is a thin launcher (sspipe/train/launch.py), hence a local rule.


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
    localrule: True
    conda:
        "../envs/sspipe.yaml"
    # How it runs and never what comes out: unlike a changed parameter, a changed resource re-runs nothing.
    resources:
        running=running_flags(),
    # What a killed run goes on from is no declared output: Snakemake would delete it before the rerun. So with the log of
    # all attempts: `log` has the last one's alone.
    params:
        launch=launch_words,
        attempts=f"{ROOT}/train/{RUN}/train.log",
        checkpoints=f"{ROOT}/train/{RUN}/checkpoints",
        engine=engine_flags(),
    shell:
        "python -m sspipe {params.launch} train --split {wildcards.split} --variant {wildcards.variant} --seed {wildcards.seed}"
        " --settings {input.settings:q} --split-table {input.split:q} --statistics {input.statistics:q}"
        " --packs {input.packs:q} --threads {threads} --checkpoints {params.checkpoints:q}"
        " {params.engine} {resources.running} --out-model {output.model:q} --out-metrics {output.metrics:q}"
        " --out-record {output.record:q} 2>&1"
        " | (trap '' HUP INT TERM; exec tee -a {params.attempts:q} > {log:q})"
