"""What there is to ingest: a directory, a glob or a manifest becomes one row a video.

Nothing is opened here but a manifest; whether a file is media is for the probe to say. Every regular file of
a directory is listed unless its name says that it is text or a table.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

import polars as pl

from features.contracts import CATALOGUE, INGEST_TEXT, cast_column, check_id
from features.errors import BadInput

NOT_MEDIA: Final = frozenset(
    {".txt", ".json", ".jsonl", ".csv", ".tsv", ".parquet", ".md", ".log", ".py", ".srt", ".vtt", ".xml"}
    | {".yaml", ".yml", ".toml", ".html", ".sha256", ".md5"}
)
MANIFESTS: Final = frozenset({".parquet", ".csv", ".jsonl", ".ndjson"})
TAG_SEPARATORS: Final = r"[|,]"
FILE_SCHEME: Final = "file://"

TEXT_COLUMNS: Final = tuple(column for column in CATALOGUE if column.name in INGEST_TEXT)
LISTING: Final = pl.Schema(
    {"video_id": pl.String(), "uri": pl.String(), **{column.name: column.dtype for column in TEXT_COLUMNS}}
)


def list_source(source: str) -> pl.DataFrame:
    """One row a video, sorted by `video_id`: video_id, uri and the optional columns of a manifest.

    Args:
        source: a directory (all below it, each real directory once), a glob, or a manifest (Parquet, CSV or
            JSONL) with `video_id` and `uri`, relative to the manifest. The id of a file is its path below the
            directory, or below the fixed part of the glob.

    Raises:
        BadInput: the source is missing, holds nothing, is no manifest, or lacks `video_id` or `uri`.
    """
    if "://" in source and not source.startswith(FILE_SCHEME):
        raise BadInput(f"source {source} is a URL; this version reads local directories, globs and manifests")
    path = path_of(source) if source.startswith(FILE_SCHEME) else Path(source).expanduser()
    if path.is_dir():
        return _files_as_rows(path, _walk(path), f"directory {path}")
    if path.is_file():
        return _read_manifest(path)
    if glob.has_magic(str(path)):
        root = _fixed_part(path)
        found = (Path(p) for p in glob.glob(str(path), recursive=True))
        return _files_as_rows(root, (p for p in found if _is_candidate(p)), f"glob {path}")
    raise BadInput(f"source {source} is not there; name a directory, a glob or a manifest")


def path_of(uri: str) -> Path:
    """Local path of a listed uri; `file://` URIs carry names that are not UTF-8."""
    if not uri.startswith(FILE_SCHEME):
        return Path(uri)
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(uri).path)))


def uri_of(path: Path) -> str:
    """The path as text; as a percent-encoded `file://` URI where its bytes are not UTF-8."""
    text = str(path)
    return text if _is_utf8(text) else FILE_SCHEME + quote_from_bytes(os.fsencode(text))


def _walk(root: Path) -> Iterator[Path]:
    """Regular files below the root; links are followed, but no real directory is entered twice."""
    entered: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in entered:
                continue
            entered.add(identity)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            if folder == root:
                raise BadInput(f"directory {root} cannot be read; check its permissions") from None
            yield folder  # listed as it is, so that it ends in quarantine instead of going missing
            continue
        for entry in entries:
            path = Path(entry.path)
            if not entry.name.startswith(".") and _is_directory(path):
                waiting.append(path)
            elif _is_candidate(path):
                yield path


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _is_candidate(path: Path) -> bool:
    """False for dot files, text, tables, directories, devices and sockets; a dangling link stays."""
    if path.name.startswith(".") or path.suffix.lower() in NOT_MEDIA:
        return False
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _fixed_part(pattern: Path) -> Path:
    """The longest leading directory of a glob without a wildcard."""
    fixed = list(_until_magic(pattern))
    return Path(*fixed) if fixed else Path()


def _until_magic(pattern: Path) -> Iterator[str]:
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _files_as_rows(root: Path, files: Iterator[Path], what: str) -> pl.DataFrame:
    rows = sorted((_id_below(path, root), uri_of(Path(os.path.abspath(path)))) for path in files)
    if not rows:
        raise BadInput(f"{what} holds no media file; hidden files, text and tables do not count")
    ids, uris = zip(*rows, strict=True)
    return _finish(pl.DataFrame({"video_id": ids, "uri": uris}), what)


def _id_below(path: Path, root: Path) -> str:
    text = path.relative_to(root).as_posix()
    return text if _is_utf8(text) else os.fsencode(text).decode("utf-8", "backslashreplace")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_manifest(path: Path) -> pl.DataFrame:
    what = f"manifest {path}"
    frame = _parse(path, what)
    missing = [name for name in ("video_id", "uri") if name not in frame.columns]
    if missing:
        has = ", ".join(frame.columns) or "none"
        raise BadInput(f"{what} lacks the column(s) {', '.join(missing)}; it has {has}")
    frame = frame.with_columns(cast_column(frame[name], pl.String(), what) for name in ("video_id", "uri"))
    for name in ("video_id", "uri"):
        if empty := frame[name].null_count():
            raise BadInput(f"{what}: {name} is null in {empty} of {len(frame)} rows; give every video one")
    if not len(frame):
        raise BadInput(f"{what} has no rows; list at least one video")
    base = Path(os.path.abspath(path)).parent
    return _finish(frame.with_columns(pl.Series("uri", [_resolve(uri, base) for uri in frame["uri"]])), what)


def _parse(path: Path, what: str) -> pl.DataFrame:
    kind = path.suffix.lower()
    if kind not in MANIFESTS:
        known = ", ".join(sorted(MANIFESTS))
        raise BadInput(f"source {path} is a file but no manifest ({known}); name its directory")
    try:
        if kind == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False) if kind == ".csv" else pl.read_ndjson(path)
    except pl.exceptions.NoDataError:
        raise BadInput(f"{what} is empty; it needs at least the columns video_id and uri") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput(f"{what} cannot be read: {str(error).splitlines()[0]}") from error


def _resolve(uri: str, base: Path) -> str:
    """The uri as given where it is a URL or absolute, else below the manifest's directory."""
    return uri if "://" in uri else str(base / uri)


def _finish(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    for video_id in frame["video_id"]:
        check_id(video_id, f"a video_id of {what}")
    wrong: list[str] = []
    columns = [frame["video_id"], frame["uri"]]
    for column in TEXT_COLUMNS:
        series = frame[column.name] if column.name in frame.columns else None
        try:
            columns.append(_typed(series, column.name, column.dtype, len(frame)))
        except pl.exceptions.PolarsError:
            wrong.append(f"{column.name} cannot be read as {column.dtype}")
    if wrong:
        raise BadInput(f"{what}: {'; '.join(wrong)}")
    rows = pl.DataFrame(columns, schema=LISTING)
    repeated = rows.filter(pl.col("video_id").is_duplicated())["video_id"]
    if len(repeated):
        raise BadInput(f"{what} gives video_id {repeated[0]!r} more than once; ids must be unique")
    return rows.sort("video_id")


def _typed(series: pl.Series | None, name: str, dtype: pl.DataType, n: int) -> pl.Series:
    if series is None:
        return pl.Series(name, [None] * n, dtype=dtype)
    if isinstance(dtype, pl.List) and series.dtype == pl.String:
        return _split(series)
    if isinstance(dtype, pl.Datetime) and series.dtype == pl.String:
        return series.str.to_datetime(time_unit="ms", time_zone="UTC", strict=True)
    kind = series.dtype
    if isinstance(dtype, pl.Datetime) and isinstance(kind, pl.Datetime) and kind.time_zone is None:
        return series.dt.replace_time_zone("UTC").cast(dtype)
    return series.cast(dtype)


def _split(series: pl.Series) -> pl.Series:
    """Words of a cell, stripped, lower case; a cell without one is null."""
    words = pl.col(series.name).str.to_lowercase().str.replace_all(TAG_SEPARATORS, "|").str.split("|")
    stripped = words.list.eval(pl.element().str.strip_chars())
    cleaned = stripped.list.eval(pl.element().filter(pl.element() != ""))
    table = series.to_frame().select(cleaned)
    return table.select(pl.when(pl.col(series.name).list.len() > 0).then(pl.col(series.name)))[series.name]
