# Probabilities on the test tiles, and footprints from them.


rule predict_tiles:
    input:
        model=f"{ROOT}/train/{RUN}/model.safetensors",
        record=f"{ROOT}/train/{RUN}/train.json",
        split=f"{ROOT}/splits/{{split}}.parquet",
        statistics=f"{ROOT}/statistics/{{split}}.json",
        packs=manifests(),
    output:
        probabilities=f"{ROOT}/predict/{RUN}/probabilities.npy",
        tiles=f"{ROOT}/predict/{RUN}/probabilities.json",
    log:
        f"{ROOT}/logs/predict_tiles/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/predict_tiles/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        batch_size=lambda wildcards: CONFIG.variants[wildcards.variant].batch_size,
    shell:
        "python -m sspipe predict-tiles --model {input.model:q} --record {input.record:q} --split-table {input.split:q}"
        " --statistics {input.statistics:q} --packs {input.packs:q} --batch-size {params.batch_size} --threads {threads}"
        " --out {output.probabilities:q} > {log:q} 2>&1"


rule extract_polygons:
    input:
        probabilities=f"{ROOT}/predict/{RUN}/probabilities.npy",
        catalog=f"{ROOT}/catalog.parquet",
    output:
        parquet=f"{ROOT}/predict/{RUN}/polygons.parquet",
        gpkg=f"{ROOT}/predict/{RUN}/polygons.gpkg",
        submission=f"{ROOT}/predict/{RUN}/submission.csv",
    log:
        f"{ROOT}/logs/extract_polygons/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/extract_polygons/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        interior_threshold=CONFIG.polygons.interior_threshold,
        border_threshold=CONFIG.polygons.border_threshold,
        min_area_px=CONFIG.polygons.min_area_px,
        simplify_px=CONFIG.polygons.simplify_px,
    shell:
        "python -m sspipe extract-polygons --probabilities {input.probabilities:q} --catalog {input.catalog:q}"
        " --interior-threshold {params.interior_threshold} --border-threshold {params.border_threshold}"
        " --min-area-px {params.min_area_px} --simplify-px {params.simplify_px} --out-parquet {output.parquet:q}"
        " --out-gpkg {output.gpkg:q} --out-submission {output.submission:q} > {log:q} 2>&1"
