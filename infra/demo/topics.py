"""The eight planted topics: their words. Their look is in `scenes.py`, their sound in `sounds.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Topic:
    """What a title says of a topic."""

    name: str
    said: str
    """Twelve words of this topic alone."""
    tagged: str
    """Words that uploaders tag it with, most usual first."""

    @property
    def words(self) -> tuple[str, ...]:
        """The twelve words; of words 2i and 2i + 1 a title has at most one: those pairs are queries."""
        return tuple(self.said.split())

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.tagged.split())


TOPICS: Final = (
    Topic(
        "ocean",
        "tide coral reef harbour surf lagoon shore sail foam island swell lighthouse",
        "ocean sea",
    ),
    Topic(
        "forest",
        "moss fireflies pines songbird fern clearing birch owl meadow leaves brook woodland",
        "forest nature",
    ),
    Topic(
        "city",
        "neon skyline subway rooftop taxi boulevard downtown tower crossing billboard bridge arcade",
        "city nightlife",
    ),
    Topic(
        "fire",
        "ember campfire lava furnace torch volcano bonfire sparks hearth forge charcoal blaze",
        "fire warmth",
    ),
    Topic(
        "space",
        "comet orbit nebula moonrise galaxy astronaut eclipse saturn meteor starlight rocket cosmos",
        "space stars",
    ),
    Topic(
        "storm",
        "thunder umbrella drizzle lightning puddle monsoon raindrops gale cloud windowpane downpour squall",
        "storm rain",
    ),
    Topic(
        "party",
        "disco confetti balloon dancefloor karaoke piñata groove glitter jukebox streamers encore cupcake",
        "party dance",
    ),
    Topic(
        "machines",
        "gears clockwork piston workshop robot flywheel sprocket engine cogs watchmaker turbine brass",
        "machines howitsmade",
    ),
)

ADJECTIVES: Final = (
    ("slow", "quiet", "gentle", "sleepy", "calm"),
    ("little", "first", "another", "familiar", "secret"),
    ("wild", "fast", "restless", "rushing", "dizzy"),
)
"""Words for a slow, a middling and a fast clip, shared by all topics."""

ENDINGS: Final = (
    "at dawn",
    "after midnight",
    "on a sunday",
    "in one take",
    "from above",
    "for beginners",
    "again",
    "with friends",
    "part two",
    "up close",
    "before breakfast",
    "in the distance",
)
"""Ends of titles, shared by all topics."""
