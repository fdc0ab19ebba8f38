"""Features: the contracts every room shares, and the way from an event log to one request's feature matrix.

In the order data passes them:

`errors.py`       errors by who has to act
`contracts.py`    columns, records and the meaning of "seen"
`tables.py`       append-only Parquet tables with commit records; `table_sweep.py`, `commits.py` beside it
`workspace.py`    where each table of a deployment lies
`catalogue.py`    videos and their lifelong `video_key`
`timestamps.py`   times as senders write them, in UTC
`formats/`        files of events as they come: Parquet, CSV, JSON lines, and public logs
`import_embeddings.py`  bring-your-own embeddings, checked at the door
`intake/`         events at the door: checked, told apart, held to a rate, appended once
`importers.py`    event logs, in portions, all or nothing
`merges.py`, `merging.py`  users who turned out to be one
`event_log.py`    all events in flat arrays, as they happened and as they arrived
`histories.py`    the latest events of a user at an instant
`counters.py`     what a user did in all the time before it
`activity.py`     what happened to a video in the day and hours before it
`videos.py`       all videos as arrays
`neighbours.py`   who watches what, as edges between videos
`impute.py`       what a video lacks, from its neighbours
`impute_across.py`  the same from its other modalities too
`statistics.py`   what the log says of each video as of a night
`definitions.py`  every feature, one row each
`user_features.py`, `video_features.py`, `pair_features.py`  the functions, which read `requests.py`
`assemble.py`     what is known of users, videos and context into one feature matrix
`point_in_time.py`  the same as of any instant of the past
`counter_table.py`  whole counts as of every row of a long log at once
`labels.py`, `training_set.py`  what followed an impression; a training set, piece by piece
`packing.py`      users, events and slates as fixed-width bytes
`wire/`           the way to Redis: connections, nodes, keys, scripts, streams
`store.py`        Redis: live users, accepted events, exposures
`row_store/`      feature rows in Redis, by version
`outbox.py`       accepted events and exposures on their way to the tables
`activity_board.py`  the videos' activity, put up by the keeper
`loading.py`      everybody's state from the log into the store
`erasure/`        a user deleted, with a proof
`memory/`         how much memory a deployment needs
`redis_server.py` a private Redis when no `REDIS_URL` is given
`pipeline.py`     `build_features` and `write_training_set`: the stages above in order
"""
