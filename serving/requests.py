"""What a caller may send: strict schemas, which refuse an unknown field, a wrong type or a NaN by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from features.contracts import check_id
from features.errors import BadInput
from serving.settings import MAX_EVENTS, MAX_K

DEFAULT_K = 10


def _text(value: str) -> str:
    """The text, if it can be written as UTF-8: JSON can name half of a surrogate pair, which cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair, which is no character") from None
    return value


def _id(value: str) -> str:
    try:
        return check_id(value, "the id")
    except BadInput as error:
        raise ValueError(str(error)) from None


Text = Annotated[str, AfterValidator(_text)]
Id = Annotated[Text, AfterValidator(_id), Field(description="1 to 512 UTF-8 bytes")]
K = Annotated[int, Field(ge=1, le=MAX_K, description="how many videos to return at most")]
Instant = Annotated[AwareDatetime, Field(strict=False, description="ISO 8601 with a time zone")]
EventName = Literal["impression", "play", "like", "share", "follow", "skip", "dislike"]
Modality = Literal["joint", "visual", "audio", "text"]
WatchS = Annotated[float, Field(ge=0, le=604_800, description="watched time, s")]


class Strict(BaseModel):
    """Base of all bodies: no unknown fields, no silent conversion, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PastEvent(Strict):
    """One event of the history that an anonymous visitor brings along."""

    video_id: Id
    event: EventName = "play"
    ts: Instant | None = None
    watch_s: WatchS | None = None


class RequestContext(Strict):
    """What the product knows of the request."""

    utc_offset_min: Annotated[int, Field(ge=-840, le=840, description="user's clock minus UTC, minutes")] = 0
    device: Annotated[Text, Field(max_length=64)] | None = None
    country: Annotated[str, Field(pattern="^[A-Za-z]{2}$", description="ISO 3166")] | None = None
    age: (
        Annotated[int, Field(ge=0, le=150, description="years; unknown means no age limit is applied")] | None
    ) = None
    surface: Annotated[Text, Field(max_length=64)] | None = None


class RecommendationRequest(Strict):
    """Asks for one slate: for a known user, or for a visitor with the history given here."""

    user_id: Id | None = None
    history: Annotated[list[PastEvent], Field(max_length=MAX_EVENTS, description="newest last")] | None = None
    k: K = DEFAULT_K
    exclude: Annotated[list[Id], Field(max_length=1000, description="videos not to return")] = []
    context: RequestContext = RequestContext()
    explain: bool = False
    personalise: Annotated[
        bool, Field(description="false: nothing of the user is used, nothing is stored")
    ] = True
    include_seen: bool = False
    diversity: Annotated[float, Field(ge=0, le=1, description="0: best scores only")] | None = None


class Event(Strict):
    """One thing a user did."""

    video_id: Id
    event: EventName = "play"
    event_id: Annotated[Id, Field(description="sent twice, it counts once")] | None = None
    ts: Annotated[Instant, Field(description="when it happened; now where absent")] | None = None
    watch_s: WatchS | None = None
    request_id: Annotated[Text, Field(max_length=64, description="of the slate it was in")] | None = None
    position: Annotated[int, Field(ge=0, le=100_000, description="place in the slate, from 0")] | None = None
    surface: Annotated[Text, Field(max_length=64)] | None = None


class EventsRequest(Strict):
    """Events of one user; all are accepted or none."""

    user_id: Id
    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]
    context: Annotated[RequestContext, Field(description="where the events come from")] = RequestContext()


class MergeRequest(Strict):
    """A visitor turns out to be a known user."""

    source: Annotated[Id, Field(description="visitor whose history and later events are the user's")]


class SearchRequest(Strict):
    """Videos for words."""

    text: Annotated[Text, Field(min_length=1, max_length=1000)]
    k: K = DEFAULT_K
