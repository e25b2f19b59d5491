# Tiles oriented and padded into shards, and the statistics that standardise them.
# Shards are packed in parallel as jobs of one thread each, so a killed one is packed again alone.


rule pack_tiles:
    input:
        catalog=f"{ROOT}/catalog.parquet",
        footprints=f"{ROOT}/footprints.parquet",
        raw=f"{ROOT}/raw.json",
    output:
        f"{ROOT}/pack/{{shard}}/manifest.json",
    log:
        f"{ROOT}/logs/pack_tiles/{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/pack_tiles/{{shard}}.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        folder=subpath(output[0], parent=True),
        raw=subpath(input.raw, strip_suffix=".json"),
        shards=CONFIG.pack.shards,
        size_px=CONFIG.tiles.size_px,
        padded_px=CONFIG.tiles.padded_px,
        orientation=CONFIG.tiles.orientation,
        border_px=CONFIG.masks.border_px,
    shell:
        "python -m sspipe pack-tiles --catalog {input.catalog:q} --footprints {input.footprints:q} --raw {params.raw:q}"
        " --shard {wildcards.shard} --shards {params.shards} --size-px {params.size_px} --padded-px {params.padded_px}"
        " --orientation {params.orientation} --border-px {params.border_px} --out {params.folder:q} > {log:q} 2>&1"


# Holds every packed file against its checksum and takes every tile's moments in the same pass, once for all splits.
rule measure_tiles:
    input:
        manifests(),
    output:
        f"{ROOT}/pack/moments.parquet",
    log:
        f"{ROOT}/logs/measure_tiles.log",
    benchmark:
        f"{ROOT}/benchmarks/measure_tiles.tsv"
    conda:
        "../envs/sspipe.yaml"
    threads: 4
    shell:
        "python -m sspipe measure-tiles --packs {input:q} --processes {threads} --out {output:q} > {log:q} 2>&1"


rule compute_statistics:
    input:
        split=f"{ROOT}/splits/{{split}}.parquet",
        moments=f"{ROOT}/pack/moments.parquet",
    output:
        f"{ROOT}/statistics/{{split}}.json",
    log:
        f"{ROOT}/logs/compute_statistics/{{split}}.log",
    benchmark:
        f"{ROOT}/benchmarks/compute_statistics/{{split}}.tsv"
    localrule: True  # seconds
    conda:
        "../envs/sspipe.yaml"
    shell:
        "python -m sspipe compute-statistics --split {wildcards.split} --split-table {input.split:q}"
        " --moments {input.moments:q} --out {output:q} > {log:q} 2>&1"
