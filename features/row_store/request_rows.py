"""Everything the store holds for one request, in one trip: the user's record, and feature rows beside it."""

from __future__ import annotations

from collections.abc import Sequence

from features.packing import UserState, moved_to, unpack_user
from features.row_store.keys import Keys
from features.row_store.loads import RowLoad
from features.row_store.rows import FeatureRows
from features.store import Store


def read_request(
    store: Store, user_id: str, wanted: Sequence[tuple[RowLoad, Keys]]
) -> tuple[UserState, list[FeatureRows]]:
    """The user's counters and history, and rows of videos and users, as one moment has them.

    A user who was merged into another is that other, which takes a further trip.

    Args:
        store: where they are.
        user_id: whose record.
        wanted: loads, and whose rows of each.

    Raises:
        VersionMismatch: the record or a row has another layout than this program's.
        StoreUnavailable: Redis does not answer within the deadline.
    """
    (packed,), rows = store.rows.read_beside([store.keys.user(user_id, "h")], wanted)
    state = store.read_user(user_id) if moved_to(packed) is not None else unpack_user(packed)
    return state, rows
