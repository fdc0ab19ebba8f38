"""Infra: the wiring. Nothing here decides; it names, orders and reports.

`settings.py`   the one place that reads the environment and `reelrank.toml`
`progress.py`   progress bars on a terminal, plain lines elsewhere
`nightly.py`    the nightly job: ingest, space, features, store, train, evaluate, publish, with a ledger
`commands.py`   what each command does
`users.py`, `worker_memory.py`  the commands about users and the memory they need
`understanding.py`, `tag_files.py`  the commands that ask what videos show
`cli.py`        what each command is called
`demo/`         a small world with a hidden truth, rendered to real media
`docs/`         longer documents
"""
