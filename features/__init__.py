"""Features: the contracts every room shares, and the way from an event log to one request's feature matrix.

In the order data passes them:

`errors.py`       errors by who has to act
`contracts.py`    columns, records and the meaning of "seen"
`tables.py`       append-only Parquet tables with commit records
`workspace.py`    where each table of a deployment lies
`catalogue.py`    videos and their lifelong `video_key`
`timestamps.py`   times as senders write them, in UTC
`readers.py`      files of events: Parquet, CSV, JSON lines, MovieLens
`import_embeddings.py`  bring-your-own embeddings, checked at the door
`importers.py`    event logs, checked at the door
`histories.py`    the latest events of a user at an instant, from a log
`videos.py`       all videos as arrays
`neighbours.py`   who watches what, as edges between videos
`impute.py`       what a video lacks, from its neighbours
`impute_across.py`  the same from its other modalities too
`statistics.py`   what the log says of each video as of an instant
`definitions.py`  every feature, one row each
`assemble.py`     histories, videos and context into one feature matrix
`packing.py`      the same records as fixed-width bytes
`outbox.py`       accepted events and exposures on their way to the tables
`store.py`        Redis: user slots, accepted events, exposures
`redis_server.py` a private Redis when no `REDIS_URL` is given
`pipeline.py`     `build_features`: the stages above in order
"""
