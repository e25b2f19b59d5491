# Probabilities on the test tiles, and footprints from them in the way that did best on the validation tiles.


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
    # How it runs and never what comes out: unlike a changed parameter, a changed resource re-runs nothing.
    resources:
        workers=CONFIG.training.workers,
    params:
        batch_size=lambda wildcards: CONFIG.variants[wildcards.variant].batch_size,
        precision=CONFIG.training.precision,
        subset="test",
    shell:
        "python -m sspipe predict-tiles --model {input.model:q} --record {input.record:q} --split-table {input.split:q}"
        " --statistics {input.statistics:q} --packs {input.packs:q} --batch-size {params.batch_size} --threads {threads}"
        " --workers {resources.workers} --precision {params.precision} --subset {params.subset}"
        " --out {output.probabilities:q} > {log:q} 2>&1"


# The validation tiles, only for as long as tune_polygons needs them.
use rule predict_tiles as predict_validation with:
    output:
        probabilities=temp(f"{ROOT}/predict/{RUN}/validation.npy"),
        tiles=temp(f"{ROOT}/predict/{RUN}/validation.json"),
    log:
        f"{ROOT}/logs/predict_validation/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/predict_validation/{RUN}.tsv"
    params:
        batch_size=lambda wildcards: CONFIG.variants[wildcards.variant].batch_size,
        precision=CONFIG.training.precision,
        subset="validation",


rule tune_polygons:
    input:
        validation=validation_predictions(),
        catalog=f"{ROOT}/catalog.parquet",  # which comes after the truth's file is there
    output:
        f"{ROOT}/predict/{RUN}/polygons.json",
    log:
        f"{ROOT}/logs/tune_polygons/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/tune_polygons/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        probabilities=validation_flag,
        truth=TRUTH,
        polygons=polygon_flags(),
        iou_threshold=CONFIG.score.iou_threshold,
        min_area_px=CONFIG.score.min_area_px,
    shell:
        "python -m sspipe tune-polygons {params.probabilities} --truth {params.truth:q} {params.polygons}"
        " --iou-threshold {params.iou_threshold} --score-min-area-px {params.min_area_px} --processes {threads}"
        " --out {output:q} > {log:q} 2>&1"


rule extract_polygons:
    input:
        probabilities=f"{ROOT}/predict/{RUN}/probabilities.npy",
        catalog=f"{ROOT}/catalog.parquet",
        settings=f"{ROOT}/predict/{RUN}/polygons.json",
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
    shell:
        "python -m sspipe extract-polygons --probabilities {input.probabilities:q} --catalog {input.catalog:q}"
        " --settings {input.settings:q} --out-parquet {output.parquet:q} --out-gpkg {output.gpkg:q} --out-submission {output.submission:q} > {log:q} 2>&1"
