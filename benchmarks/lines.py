"""Lines of each room of `src/tombola`, Python and C, blank lines and comments included: ``python benchmarks/lines.py``."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "tombola"


def lines_by_room(root: Path = ROOT) -> Counter[str]:
    """Room -> lines; files beside the rooms count as ``.``."""
    found: Counter[str] = Counter()
    for path in root.rglob("*"):
        if path.suffix in (".py", ".c", ".h"):
            inside = path.relative_to(root).parts
            found[inside[0] if len(inside) > 1 else "."] += len(path.read_text().splitlines())
    return found


if __name__ == "__main__":
    rooms = lines_by_room()
    for room, count in sorted(rooms.items()):
        print(f"{count:6,}  {room}")
    print(f"{sum(rooms.values()):6,}  all\n{sum(rooms.values()) - rooms['studies']:6,}  without studies")
