# Mosaics of the test area with all looks, footprints of them, and what many looks are worth.


rule mosaic_predictions:
    input:
        probabilities=f"{ROOT}/predict/{RUN}/probabilities.npy",
        catalog=f"{ROOT}/catalog.parquet",
        packs=manifests(),
    output:
        mosaic=f"{ROOT}/maps/{RUN}.tif",
        looks=f"{ROOT}/maps/{RUN}.looks.parquet",
    log:
        f"{ROOT}/logs/mosaic_predictions/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/mosaic_predictions/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    resources:
        block_px=CONFIG.maps.block_px,
    params:
        edge_m=CONFIG.maps.edge_m,
    shell:
        "python -m sspipe mosaic-predictions --probabilities {input.probabilities:q} --catalog {input.catalog:q}"
        " --packs {input.packs:q} --edge-m {params.edge_m} --block-px {resources.block_px} --out {output.mosaic:q}"
        " --out-looks {output.looks:q} > {log:q} 2>&1"


# One job of two stages: both take seconds.
rule map_footprints:
    input:
        mosaic=f"{ROOT}/maps/{RUN}.tif",
        looks=f"{ROOT}/maps/{RUN}.looks.parquet",
        settings=f"{ROOT}/predict/{RUN}/polygons.json",
        polygons=f"{ROOT}/predict/{RUN}/polygons.parquet",
        probabilities=f"{ROOT}/predict/{RUN}/probabilities.npy",
        catalog=f"{ROOT}/catalog.parquet",
        footprints=f"{ROOT}/footprints.parquet",
    output:
        parquet=f"{ROOT}/maps/{RUN}.footprints.parquet",
        gpkg=f"{ROOT}/maps/{RUN}.footprints.gpkg",
        scores=f"{ROOT}/maps/{RUN}.looks.json",
    log:
        f"{ROOT}/logs/map_footprints/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/map_footprints/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    resources:
        block_px=CONFIG.maps.block_px,
    params:
        iou_threshold=CONFIG.score.iou_threshold,
        min_area_px=CONFIG.score.min_area_px,
        block_m=CONFIG.score.block_m,
        bootstrap_samples=CONFIG.score.bootstrap_samples,
    shell:
        "(python -m sspipe extract-map-polygons --mosaic {input.mosaic:q} --settings {input.settings:q}"
        " --block-px {resources.block_px} --out-parquet {output.parquet:q} --out-gpkg {output.gpkg:q}"
        " && python -m sspipe score-looks --probabilities {input.probabilities:q} --catalog {input.catalog:q}"
        " --footprints {input.footprints:q} --polygons {input.polygons:q} --map-polygons {output.parquet:q}"
        " --looks {input.looks:q} --iou-threshold {params.iou_threshold} --min-area-px {params.min_area_px}"
        " --block-m {params.block_m} --bootstrap-samples {params.bootstrap_samples} --out {output.scores:q}) > {log:q} 2>&1"
