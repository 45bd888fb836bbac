"""Connected components over any sortable names, the same for any order of the edges."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

__all__ = ["Components"]

Name = TypeVar("Name", bound=Hashable)


class Components(Generic[Name]):
    """Union-find with path halving; a component's representative is its smallest name."""

    def __init__(self, names: Iterable[Name] = ()) -> None:
        self._parent: dict[Name, Name] = {name: name for name in names}

    def add(self, name: Name) -> None:
        """A name that may stand alone."""
        self._parent.setdefault(name, name)

    def find(self, name: Name) -> Name:
        """The smallest name of the component."""
        parent = self._parent
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    def join(self, first: Name, second: Name) -> None:
        """The two names stand in one component from now on."""
        self.add(first)
        self.add(second)
        a, b = self.find(first), self.find(second)
        if a != b:
            low, high = (a, b) if a < b else (b, a)  # type: ignore[operator]
            self._parent[high] = low

    def groups(self) -> dict[Name, list[Name]]:
        """Sorted members by representative, representatives in order."""
        found: dict[Name, list[Name]] = {}
        for name in sorted(self._parent):  # type: ignore[type-var]
            found.setdefault(self.find(name), []).append(name)
        return found
