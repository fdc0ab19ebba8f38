"""Run by the Python of Feast's own environment: an order in, figures out, both as JSON on standard streams.

Imports nothing of ours. Entity, source and view are made by code; `materialize` writes all rows of a Parquet
file to Redis, and `get_online_features` reads some of them, without turning them into a frame or a matrix.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType, __version__
from feast.types import Float32


def main() -> None:
    order = json.load(sys.stdin)
    home = Path(order["home"])
    home.mkdir(parents=True, exist_ok=True)
    (home / "registry.db").unlink(missing_ok=True)
    names = [name for name in pq.read_schema(order["rows"]).names if name.startswith("f")]
    store = FeatureStore(config=config_of(home, order["port"]))
    store.apply(definitions(order["rows"], names))
    end = datetime.now(UTC)
    start = time.perf_counter()
    store.materialize(end - timedelta(days=2), end)
    materialized = time.perf_counter() - start
    asked = [f"videos:{name}" for name in names]
    entities = [{"video_key": key} for key in order["keys"]]
    took = []
    for at in range(order["repeats"] + 5):
        start = time.perf_counter()
        answer = store.get_online_features(features=asked, entity_rows=entities)
        if at >= 5:
            took.append(time.perf_counter() - start)
    values = answer.to_dict()
    said = {
        "version": __version__,
        "rows": pq.read_metadata(order["rows"]).num_rows,
        "materialize_s": materialized,
        "online_s": took,
        "values": [list(row) for row in zip(*(values[name] for name in names), strict=True)],
    }
    print(json.dumps(said))


def config_of(home: Path, port: int) -> RepoConfig:
    return RepoConfig(
        project="bench",
        provider="local",
        registry=str(home / "registry.db"),
        offline_store={"type": "file"},
        online_store={"type": "redis", "connection_string": f"127.0.0.1:{port}"},
        entity_key_serialization_version=3,
    )


def definitions(rows: str, names: list) -> list:
    video = Entity(name="video", join_keys=["video_key"], value_type=ValueType.INT64)
    source = FileSource(path=rows, timestamp_field="event_timestamp")
    schema = [Field(name=name, dtype=Float32) for name in names]
    return [
        video,
        FeatureView(name="videos", entities=[video], schema=schema, source=source, ttl=timedelta(days=9)),
    ]


if __name__ == "__main__":
    main()
