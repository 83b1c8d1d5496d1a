"""Where the bytes of files of nerv360-motion go, to parts.tsv: parts.py FILE.nerv360 ..."""

import sys
from collections import Counter
from pathlib import Path

from nerv360.bitstream.container import Container
from nerv360.bitstream.header import MotionHeader
from nerv360.evaluation.results_store import append_row
from nerv360.motion.core import Core
from nerv360.motion.keys import assign_slots

TABLE = Path(__file__).parent / "parts.tsv"


class MeasuredCore(Core):
    def motion_length(self, slot: int) -> int:
        """Bytes of a key that its motion takes."""
        return self._call("motion_length", slot)


def spent(path: Path) -> Counter[str]:
    """Bytes by the kind of key, and by what they say."""
    found: Counter[str] = Counter()
    with Container(path) as container:
        for segment in container.segments:
            header = segment.header
            assert isinstance(header, MotionHeader)
            core = MeasuredCore(container.header.width, container.header.height)
            keys = list(header.coded_keys())
            for index, (key, slot) in enumerate(zip(keys, assign_slots(keys), strict=True)):
                data = container.chunk(segment, index)
                core.decode(slot, key, header.steps[key.level], data)
                motion = core.motion_length(slot) if key.references else 0
                found[f"{key.kind} motion"] += motion
                found[f"{key.kind} bands"] += len(data) - motion
        found["headers"] = container.size - found.total()
    return found


def main() -> None:
    for name in sys.argv[1:]:
        found = spent(Path(name))
        del found["root motion"]
        parts = {part: f"{100 * size / found.total():.1f}" for part, size in sorted(found.items())}
        append_row(TABLE, {"file": Path(name).name, "bytes": str(found.total())} | parts)


if __name__ == "__main__":
    main()
