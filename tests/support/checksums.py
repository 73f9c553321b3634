"""Lines of files of records with their checksums taken off, or put on again."""

import re
from collections.abc import Sequence

from tokencollab.protocol.checksums import add_checksum


def without_checksum(line: str) -> str:
    """A line as an earlier version wrote it; its line end stays."""
    return re.sub(r',?"crc32":"[0-9a-f]{8}"\}', "}", line)


def with_checksums(lines: Sequence[str], *, chained: bool) -> list[str]:
    """Lines, whatever they say, as if this program had written them."""
    made, last = [], 0
    for line in lines:
        data, last = add_checksum(without_checksum(line).strip().encode(), last if chained else 0)
        made.append(data.decode() + "\n")
    return made
