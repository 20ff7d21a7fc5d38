"""The rows of a benchmark."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from logocap_jax.measure.timing import Timing


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one thing.

    Attributes:
      name: what it is.
      setting: at what batch, size and dtype, and for how many people.
      images: that one call is about.
      compile_seconds: from tracing to the executable.
      timing: of one call; None: not run.
      flops: of one call on one device, by the compiler's count.
      peak_share: `flops` over what the device could do in the median time.
      memory_bytes: device memory, per device.
      memory_source: where that was read.
      traffic: bytes that one call moves to and from the device's memory, by the
        compiled program; None: not asked for.
      launches: pieces of work that one call hands to the device, by the same.
      remark: anything else to know.
    """

    name: str
    setting: str
    images: int
    compile_seconds: float | None = None
    timing: Timing | None = None
    flops: float | None = None
    peak_share: float | None = None
    memory_bytes: int | None = None
    memory_source: str | None = None
    traffic: int | None = None
    launches: int | None = None
    remark: str = ""

    @property
    def key(self) -> str:
        """What tells it from all other rows."""
        return f"{self.name}: {self.setting}"

    @property
    def images_per_second(self) -> float | None:
        """At the median time."""
        return None if self.timing is None else self.images / self.timing.median

    def to_json(self) -> dict[str, Any]:
        """All of it, and what follows from the samples."""
        plain: dict[str, Any] = {"key": self.key} | dataclasses.asdict(self)
        if self.timing is not None:
            plain["timing"] = {
                "median_seconds": self.timing.median,
                "p90_seconds": self.timing.p90,
                "spread": self.timing.spread,
                "calls_per_sample": self.timing.calls_per_sample,
                "seconds": list(self.timing.seconds),
            }
        return plain | {"images_per_second": self.images_per_second}


# Sums of rows over another row, all of the same run. In all, the part of a name after
# the comma says how many people there are.
_RATIOS = (
    (("after-backbone",), "backbone"),
    (("local-kem", "global-kam"), "backbone"),
    (("after-backbone",), "to-poses"),
    (("to-poses",), "bare-hrnet"),
    (("whole-path",), "bare-hrnet"),
    (("train-loop",), "train-step"),
)


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Ratios of median times, within each setting, of rows that are there."""
    times = {
        (row.setting, row.name): row.timing.median
        for row in rows
        if row.timing is not None
    }
    found = {}
    for setting, name in times:
        kind, comma, people = name.partition(",")
        for parts, whole in _RATIOS:
            if kind != parts[0]:
                continue
            under = [times.get((setting, part + comma + people)) for part in parts]
            over = times.get((setting, whole + comma + people)) or times.get(
                (setting, whole)
            )
            known = [seconds for seconds in under if seconds is not None]
            if over is not None and len(known) == len(parts):
                text = f"{' + '.join(parts)} / {whole}{comma}{people}"
                found[f"{text}: {setting}"] = sum(known) / over
    return found
