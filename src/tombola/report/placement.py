"""Where a label may stand beside its point: within the axes, clear of points and of other labels."""

from collections.abc import Sequence
from dataclasses import dataclass

_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


@dataclass(frozen=True)
class Box:
    """A rectangle with its sides along the axes."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> "Box":
        """The box of this size about a point."""
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.top - self.bottom)

    def shared(self, other: "Box") -> float:
        """The area that lies in both."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)


def beside(points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], frame: Box, gap: float) -> list[Box]:
    """A label's box for each point: to the right of it if it has room there, else on the side where least of it is covered.

    Args:
        points: where the labelled things are.
        sizes: (width, height) of their labels.
        frame: what the labels are not to leave.
        gap: between the middle of a point and its label, and half the room that a point itself takes.
    """
    taken = [Box.around(x, y, 2 * gap, 2 * gap) for x, y in points]
    found: list[Box] = []
    for index, ((x, y), (width, height)) in enumerate(zip(points, sizes, strict=True)):
        others = [*taken[:index], *taken[index + 1 :], *found]
        places = [Box.around(x + right * (gap + width / 2), y + up * (gap + height / 2), width, height) for right, up in _DIRECTIONS]
        covered = [box.area - box.shared(frame) + sum(box.shared(other) for other in others) for box in places]
        found.append(places[covered.index(min(covered))])
    return found
