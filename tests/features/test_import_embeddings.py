"""Bring-your-own embeddings."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.errors import BadInput
from features.importers import import_embeddings
from features.workspace import Workspace


def test_vectors_come_to_unit_length_and_every_flaw_is_counted(workspace: Workspace, tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "video_id": ["a", "b", "c", "d", "e", None],
            "visual": [[3.0, 4.0], [1.0, 2.0, 3.0], [0.0, 0.0], [float("nan"), 1.0], None, [1.0, 0.0]],
            "audio": [None, [1.0], [2.0], [1.0], [5.0], [1.0]],
        }
    ).write_parquet(tmp_path / "e.parquet")
    done = import_embeddings(workspace, [tmp_path / "e.parquet"])
    assert (done.rows, done.imported, done.dims) == (6, 3, {"visual": 2, "audio": 1})
    assert done.refused == {
        "no video_id": 1,
        "visual not finite": 1,
        "visual of another length": 1,
        "zero visual": 1,
    }
    stored = workspace.embeddings(done.encoder_version).read()
    assert stored.select("video_id", "visual", "audio", "rung").rows() == [
        ("a", pytest.approx([0.6, 0.8]), None, "import"),
        ("c", None, [1.0], "import"),
        ("e", None, [1.0], "import"),
    ]
    assert workspace.catalogue.read()["video_id"].to_list() == ["a", "c", "e"]


def test_the_same_content_again_changes_nothing_and_other_content_is_another_version(
    workspace: Workspace, tmp_path: Path
) -> None:
    for name, value in (("one", 1.0), ("two", 2.0)):
        frame = pl.DataFrame({"video_id": ["a"], "text": np.array([[value, 1.0]])})
        frame.write_parquet(tmp_path / f"{name}.parquet")
    first = import_embeddings(workspace, [tmp_path / "one.parquet"])
    table = workspace.embeddings(first.encoder_version)
    before = table.snapshot()
    assert import_embeddings(workspace, [tmp_path / "one.parquet"]) == first
    assert table.snapshot() == before
    import_embeddings(workspace, [tmp_path / "two.parquet"])
    assert len(workspace.encoder_versions()) == 2


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"], "visual": [[1.0]]}, "lacks the required column video_id; it has id, visual"),
        ({"video_id": ["a"], "smell": [[1.0]]}, "has none of visual, audio, text"),
        ({"video_id": ["a"], "visual": ["x"]}, "not a list of floats"),
        ({"video_id": [""], "visual": [[1.0]]}, "none of the 1 rows can be used: 1 no video_id"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(
    workspace: Workspace, tmp_path: Path, columns: dict[str, list[object]], said: str
) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(BadInput, match=said):
        import_embeddings(workspace, [tmp_path / "e.parquet"])
    assert not workspace.catalogue.exists()
