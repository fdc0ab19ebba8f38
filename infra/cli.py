"""The command line: `reelrank …`. Exit code 0 done, 1 failed, 2 bad usage or refused input."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from rich.console import Console

from features.errors import BadInput, RecError
from infra.settings import DEVICES, SAMPLINGS, workspace_from_environment

EVENT_FORMATS = ("auto", "reelrank", "movielens", "kuairand", "kuairec", "microlens", "openbandit")
FUTURES = ("refuse", "accept")
"""Said here again, and compared by a test: `--help` does not wait for Polars."""

WIDTH_OF_FILES = 110
"""Columns of what goes to a file or a pipe; a terminal has its own width."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if args.debug else logging.WARNING, format="%(name)s %(message)s")
    # With --json the last line of standard output is the answer; what a person reads goes beside it.
    wide = None if (sys.stderr if args.json else sys.stdout).isatty() else WIDTH_OF_FILES
    console = Console(stderr=args.json, width=wide)
    problems = Console(stderr=True)
    # Read by OpenMP when torch loads. Its threads would spin while they wait, and on a machine with any other
    # work that costs ten times what it saves.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from infra.commands import Screen  # torch, Ray and LightGBM are imported only for a command that runs

        run = getattr(import_module(f"infra.{args.home}"), args.run)
        answer = run(args, Screen(console))
    except BadInput as error:
        problems.print(f"reelrank: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    except RecError as error:
        problems.print(f"reelrank: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        problems.print("reelrank: interrupted; what was committed stays, run the command again to go on")
        return 130
    except Exception as error:  # the outer edge of the process: a person gets a sentence, --debug the trace
        if args.debug:
            raise
        said = f"reelrank: unexpected {type(error).__name__}: {error}; run again with --debug for the trace"
        problems.print(said, style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    if args.json:
        print(json.dumps(answer, default=str))
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` names a function of the module `infra.<home>`."""
    parser = argparse.ArgumentParser(prog="reelrank", description="Multimodal video recommendations.")
    parser.add_argument("--version", action="version", version=f"reelrank {version('reelrank')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_data_commands(commands)
    _add_model_commands(commands)
    _add_understanding_commands(commands)
    _add_serving_commands(commands)
    return parser


def _add_data_commands(commands: Any) -> None:
    demo = _command(commands, "demo", "demo", "make a small world and run everything on it")
    demo.add_argument("--seed", type=_at_least(0), default=7, help="of the world (default: 7)")
    demo.add_argument("--videos", type=_at_least(20), default=120, help="clips to render (default: 120)")
    demo.add_argument("--users", type=_at_least(20), default=600, help="simulated users (default: 600)")
    demo.add_argument("--no-serve", action="store_true", help="end after the report")
    _serve_arguments(demo)

    ingest = _command(
        commands, "ingest", "ingest", "decode and embed a directory, glob or manifest of videos"
    )
    _ingest_arguments(ingest)

    embeddings = _group(commands, "embeddings", "bring your own embeddings")
    files = _command(embeddings, "import", "import_embedding_files", "import vectors from Parquet files")
    files.add_argument("files", nargs="+", metavar="FILE")

    events = _group(commands, "events", "event logs")
    files = _command(events, "import", "import_event_files", "import interactions")
    files.add_argument(
        "files", nargs="+", metavar="FILE", help="Parquet, CSV or JSONL, or the folder of a public log"
    )
    files.add_argument(
        "--format", choices=EVENT_FORMATS, default="auto", help="(default: auto, by their names)"
    )

    features = _group(commands, "features", "features and the store")
    build = _command(features, "build", "build", "build features and load every history into Redis")
    _unknown_share(build)
    rows = _command(
        features, "training-set", "training_set",
        "one Parquet row an impression: features as of then, and what followed",
    )  # fmt: skip
    rows.add_argument("--out", required=True, metavar="DIR", help="a directory that is not there yet")

    _add_user_commands(commands)


def _add_user_commands(commands: Any) -> None:
    users = _group(commands, "user", "one user: deleted, or merged into another")
    delete = _command(
        users, "delete", "delete", "delete a user from Redis, tables and reports, with a proof", home="users"
    )
    delete.add_argument("user_id", metavar="ID")
    delete.add_argument(
        "--future", choices=FUTURES, default="refuse", help="later events of this id (default: refuse)"
    )
    merge = _command(users, "merge", "merge", "make one user's events another's", home="users")
    merge.add_argument("source", metavar="FROM")
    merge.add_argument("into", metavar="INTO")

    plan = _command(commands, "plan", "plan", "forecast the memory that a deployment needs", home="users")
    plan.add_argument("--users", type=_at_least(0), required=True)
    plan.add_argument("--videos", type=_at_least(0), required=True)
    plan.add_argument(
        "--history-events", type=_at_least(0), metavar="N",
        help="events in a user's history (default: as in the log; without one 50)",
    )  # fmt: skip
    plan.add_argument(
        "--events-a-day", type=_amount, default=10.0, metavar="N", help="of one user (default: 10)"
    )
    plan.add_argument(
        "--slates-a-day", type=_amount, default=2.0, metavar="N", help="of one user (default: 2)"
    )
    plan.add_argument(
        "--replicas", type=_at_least(0), default=1, metavar="N", help="of each Redis (default: 1)"
    )


def _add_model_commands(commands: Any) -> None:
    train = _command(commands, "train", "train", "train a bundle and publish it")
    held = train.add_mutually_exclusive_group()
    held.add_argument("--holdout-days", type=_at_least(1), help="keep the last days for `evaluate`")
    held.add_argument("--leave-last", type=_at_least(1), help="keep each user's last events for `evaluate`")
    train.add_argument("--seed", type=_at_least(0), default=7)
    train.add_argument(
        "--fusion", metavar="KIND", help="how modalities become one: concat, gated or attention"
    )
    train.add_argument("--no-publish", action="store_true", help="leave the served bundle as it is")
    _threads(train)
    _unknown_share(train)

    recommend = _command(
        commands, "recommend", "recommend_batch", "recommendations for many users, as Parquet"
    )
    whom = recommend.add_mutually_exclusive_group(required=True)
    whom.add_argument("--users", metavar="FILE", help="one user id a line")
    whom.add_argument("--all", action="store_true", help="every user of the log")
    recommend.add_argument("--k", type=_at_least(1), default=20, help="videos a user (default: 20)")
    recommend.add_argument("--out", required=True, metavar="FILE")
    recommend.add_argument("--bundle", help="(default: the published one)")
    recommend.add_argument("--include-seen", action="store_true")
    _threads(recommend)

    evaluate = _command(
        commands, "evaluate", "evaluate", "offline A/B report on the held-out part", home="understanding"
    )
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--arm", action="append", metavar="NAME=SPEC",
        help="a bundle, `current`, either less a component (`current-trees`), popular, recent or random",
    )  # fmt: skip
    what.add_argument(
        "--space", nargs="?", const="", metavar="VERSION",
        help="instead of recommendations, the space of the embeddings (default: the newest)",
    )  # fmt: skip
    what.add_argument(
        "--fusions", action="store_true",
        help="train a bundle for each way to put modalities together, and hold them against each other",
    )  # fmt: skip
    evaluate.add_argument("--k", type=_at_least(1), default=10)
    evaluate.add_argument("--name", help="of the report's directory (default: evaluation, space or fusions)")
    evaluate.add_argument("--seed", type=_at_least(0), default=7)
    evaluate.add_argument(
        "--holdout-days", type=_at_least(1), default=3, help="that --fusions do not learn from (default: 3)"
    )
    _threads(evaluate)

    nightly = _command(commands, "nightly", "nightly", "the whole nightly job", workspace=None)
    nightly.add_argument("--config", required=True, metavar="FILE", help="reelrank.toml")
    nightly.add_argument("--resume", action="store_true", help="go on with the newest unfinished run")


def _add_serving_commands(commands: Any) -> None:
    _serve_arguments(_command(commands, "serve", "serve", "the API and the Studio until Ctrl-C"))
    _command(commands, "versions", "versions", "what the workspace holds")
    publish = _command(commands, "publish", "publish", "serve another bundle")
    publish.add_argument("bundle")
    _command(commands, "rollback", "rollback", "serve the bundle before this one")


def _add_understanding_commands(commands: Any) -> None:
    search = _command(
        commands, "search", "search", "videos nearest to words, a picture, a sound or a video, or to several",
        home="understanding",
    )  # fmt: skip
    search.add_argument("words", nargs="?")
    search.add_argument("--image", metavar="FILE", help="a picture; of a video, the one in its middle")
    search.add_argument("--audio", metavar="FILE", help="a sound; of a video, its sound alone")
    search.add_argument("--video", metavar="FILE", help="picture and sound")
    search.add_argument("--k", type=_at_least(1), default=10)

    similar = _command(commands, "similar", "similar", "videos nearest to a video", home="understanding")
    similar.add_argument("video_id")
    similar.add_argument(
        "--by", choices=("joint", "visual", "audio", "text"), default="joint",
        help="all modalities together, or one (default: joint)",
    )  # fmt: skip
    similar.add_argument("--k", type=_at_least(1), default=10)

    tags = _command(
        commands, "tags", "tags", "tags for videos from picture and sound, with probabilities",
        home="understanding",
    )  # fmt: skip
    tags.add_argument("video_ids", nargs="*", metavar="VIDEO_ID", help="videos to show")
    tags.add_argument(
        "--vocabulary", metavar="FILE", help="one tag a line (default: the catalogue's own tags)"
    )
    tags.add_argument(
        "--min-uses", type=_at_least(2), default=10,
        help="videos that must carry a tag before it is judged by them (default: 10)",
    )  # fmt: skip
    tags.add_argument("--k", type=_at_least(1), default=5, help="tags a video (default: 5)")
    tags.add_argument("--out", metavar="FILE", help="Parquet file for the tags of all videos")


def _ingest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        help="directory, glob, or manifest (Parquet, CSV, JSONL); a path or a URL (s3://, gs://, ...)",
    )
    parser.add_argument("--frames", type=_at_least(1), default=16, help="taken of a video (default: 16)")
    parser.add_argument(
        "--sampling", choices=SAMPLINGS, default="exact",
        help="frames at even instants, the key frames nearest to them (cheaper), or at least one a shot",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", action="append", metavar="SPEC",
        help="what embeds: signal (default), hf:PATH_OR_NAME or package.module:Class, each also for one "
        "modality as visual=..., audio=... or text=..., where `none` leaves it out; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=DEVICES, default="auto",
        help="where videos are decoded and described (default: auto, a GPU where there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=_at_least(1), help="Ray actors (default: one a processor, on cuda one a GPU)"
    )
    parser.add_argument("--ray-address", help="of a Ray cluster (default: Ray on this machine)")
    parser.add_argument("--verify", action="store_true", help="read every file again, also unchanged ones")
    parser.add_argument(
        "--retry-quarantined", action="store_true", help="try again what was refused for good"
    )
    parser.add_argument(
        "--resume", action="store_true",
        help="go on with an interrupted run; every run does, so this only says what is meant",
    )  # fmt: skip
    parser.add_argument(
        "--no-extras", action="store_true",
        help="embeddings alone: no quality columns, near-duplicates, thumbnails and previews",
    )  # fmt: skip
    parser.add_argument(
        "--media-root", metavar="DIR", help="files may lie below it (default: the directory of the source)"
    )
    parser.add_argument(
        "--allow-scheme", action="append", default=[], metavar="SCHEME",
        help="URL scheme that files of a manifest may have beside that of the source, such as https",
    )  # fmt: skip


def _command(
    commands: Any, name: str, run: str, what: str, workspace: str | None = "", home: str = "commands"
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what)
    default = workspace_from_environment() if workspace == "" else workspace
    shown = f"(default: {default})" if default else "(default: as the config says)"
    parser.add_argument(
        "--workspace", default=default, metavar="DIR", help=f"directory of the deployment {shown}"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on the last line of standard output"
    )
    parser.add_argument("--debug", action="store_true", help="log everything, show traces")
    parser.set_defaults(run=run, home=home)
    return parser


def _group(commands: Any, name: str, what: str) -> Any:
    return commands.add_parser(name, help=what, description=what).add_subparsers(
        required=True, metavar="COMMAND"
    )


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_at_least(1), default=8000)
    if parser.get_default("run") == "serve":
        parser.add_argument("--workers", type=_at_least(1), default=1, help="processes (default: 1)")


def _threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_at_least(1), default=2, help="(default: 2)")


def _unknown_share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-unknown-share", type=_share, default=0.5, metavar="SHARE",
        help="refuse when more interactions than this name unknown videos (default: 0.5)",
    )  # fmt: skip


def _at_least(low: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} is too small; at least {low}")
        return value

    return whole


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value} is not a finite number of at least 0")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
