"""What is compared: an arm is a name and what stands behind it.

`full=current` is the published bundle, `old=20260131t020000-1a2b3c4d` another one, `silent=current-audio` a
bundle less a component (several may follow: `current-visual-audio`), and `popular`, `recent` and `random`
need no bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.errors import BadInput, NotFound
from features.workspace import Workspace
from ranker.bundle import COMPONENTS

CURRENT: Final = "current"
BASELINES: Final = ("popular", "recent", "random")

LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison."""

    name: str
    """How the report calls it: unique in a report, 1 to 40 printable characters."""
    kind: str
    """`bundle` or one of BASELINES."""
    bundle: str = ""
    """Name of the bundle, or `current`; empty for a baseline."""
    without: frozenset[str] = frozenset()
    """Components of the bundle that are switched off."""

    @property
    def spec(self) -> str:
        """What stands behind it, in words."""
        if self.kind != "bundle":
            return self.kind
        less = [name for name in COMPONENTS if name in self.without]
        return f"{self.bundle} less {', '.join(less)}" if less else self.bundle


def parse_arm(text: str) -> Arm:
    """The arm of `NAME=SPEC`.

    Raises:
        BadInput: there is no name or no SPEC, the name is too long, or SPEC is `logged`.

    Example:
        >>> parse_arm("silent=current-audio").spec
        'current less audio'
    """
    name, equals, spec = (part.strip() for part in text.partition("="))
    if not (name and equals and spec):
        raise BadInput(f"arm {text!r} is not NAME=SPEC; write for example full=current or base=popular")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise BadInput(f"arm name {name!r} has {len(name)} characters; 1 to {LONGEST_NAME} printable ones go")
    if spec == "logged":
        raise BadInput(
            f"arm {name!r} asks for the logged policy, which offline ranking cannot replay: held-out "
            "positives exist only for videos that it showed; compare with popular, recent or random"
        )
    if spec in BASELINES:
        return Arm(name, spec)
    bundle, without = _less(spec)
    return Arm(name, "bundle", bundle, without)


def check_arms(arms: list[Arm]) -> None:
    """Nothing, if these arms can be compared.

    Raises:
        BadInput: fewer than two, or two of one name.
    """
    if len(arms) < 2:
        raise BadInput(f"{len(arms)} arm(s) given; a comparison needs two or more, the first is the control")
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"arm name(s) {', '.join(twice)} given twice; give each arm its own name")


def resolve_bundle(workspace: Workspace, arm: Arm) -> str:
    """Name of the complete bundle behind an arm.

    Raises:
        NotFound: it is not in the workspace, or none is published; names what there is.
    """
    if arm.bundle == CURRENT:
        return workspace.current_bundle()
    have = workspace.bundles()
    if arm.bundle not in have:
        raise NotFound(
            f"arm {arm.name!r} names bundle {arm.bundle!r}, which is not in {workspace.root}; it has "
            f"{', '.join(have) or 'none'}; SPEC may also be {CURRENT}, {', '.join(BASELINES)}, or a bundle "
            f"followed by -COMPONENT ({', '.join(COMPONENTS)})"
        )
    return arm.bundle


def _less(spec: str) -> tuple[str, frozenset[str]]:
    without: set[str] = set()
    while True:
        for component in COMPONENTS:
            ending = next((e for e in _endings(component) if spec.endswith(e)), None)
            if ending and len(spec) > len(ending):
                without.add(component)
                spec = spec.removesuffix(ending)
                break
        else:
            return spec, frozenset(without)


def _endings(component: str) -> tuple[str, str]:
    return f"-{component}", f"-{component.replace('_', '-')}"
