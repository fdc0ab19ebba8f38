"""A small world with a hidden truth: real files, an event log of a stated policy, and what is hidden in it.

`topics.py`      words of the eight planted topics
`world.py`       videos, creators and people, all from one seed
`behaviour.py`   tastes on a day, and what people do with a video
`log.py`         the event log: policy, true propensities, plays, skips and likes
`scenes.py`      what a topic looks like
`sounds.py`      what a topic sounds like
`media.py`       both as MP4 files, broken files, and the manifest
`truth.py`       the oracle, and how hard the world is
`generate.py`    all of it into one directory

Its difficulty is frozen: in the default world popularity reaches about half of the oracle's nDCG@10 (40 % at
least) and random at most 10 %. Whoever changes that changes `WORLD_VERSION`.
"""

from infra.demo.generate import DemoFiles, generate, generate_world, generator_hash
from infra.demo.world import WORLD_VERSION, World

__all__ = ["WORLD_VERSION", "DemoFiles", "World", "generate", "generate_world", "generator_hash"]
