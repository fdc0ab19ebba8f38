"""Progress as a person sees it: bars on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Advance(Protocol):
    """Called as a stage goes on."""

    def __call__(self, done: int, total: int, part: str = "") -> None:
        """So much is done of a total; `part` names what of the stage is under way."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Shows the stages of a job, one after the other."""

    console: Console

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A stage under way: a bar while it runs, a line with its time when it has ended."""
        began = time.perf_counter()
        if not self.console.is_terminal:
            self.console.print(f"{name} ...", highlight=False)
            yield lambda done, total, part="": None
        else:
            with _bar(self.console) as bar:
                task = bar.add_task(name, total=None)

                def advance(done: int, total: int, part: str = "") -> None:
                    label = f"{name}: {part}" if part else name
                    bar.update(task, completed=done, total=total, description=label)

                yield advance
        self.console.print(
            f"[green]done[/] {name} [dim]{time.perf_counter() - began:.1f} s[/]", highlight=False
        )

    def note(self, text: str) -> None:
        """One line under the stage that made it."""
        self.console.print(f"     {text}", highlight=False, soft_wrap=True, markup=False)


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
