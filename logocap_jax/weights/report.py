"""What became of every array when weights were loaded."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Report:
    """Outcome for each array.

    Attributes:
      used: names in the file of the arrays that were taken.
      unused: names in the file of the arrays that the model has no place for.
      missing: paths in the model that the file has no array for; of a whole head
        that is absent, its own.
      wrong_shape: path, shape in the file (in our layout) and shape expected.
    """

    used: list[str]
    unused: list[str]
    missing: list[str]
    wrong_shape: list[str]

    @property
    def complete(self) -> bool:
        """Whether file and model agree one to one."""
        return not (self.unused or self.missing or self.wrong_shape)

    def format(self, *, max_names: int = 20) -> str:
        """Table of counts, then the names of all but the used.

        Args:
          max_names: list no more than these of each kind.
        """
        rows = {
            "used": self.used,
            "unused": self.unused,
            "missing": self.missing,
            "wrong shape": self.wrong_shape,
        }
        lines = [f"{kind:<12}{len(names):>6}" for kind, names in rows.items()]
        del rows["used"]
        for kind, names in rows.items():
            if names:
                lines += ["", f"{kind}:", *(f"  {name}" for name in names[:max_names])]
            if len(names) > max_names:
                lines.append(f"  ... and {len(names) - max_names} more")
        return "\n".join(lines)

    def require_complete(self) -> None:
        """Refuse anything but a one-to-one fit.

        Raises:
          ValueError: an array is unused, missing or of the wrong shape.
        """
        if self.complete:
            return
        counts = (
            ("unused", self.unused),
            ("missing", self.missing),
            ("of the wrong shape", self.wrong_shape),
        )
        found = ", ".join(
            f"{len(names)} arrays {kind} (first: {names[0]})"
            for kind, names in counts
            if names
        )
        raise ValueError(f"{found}; a partial load (--partial) takes what fits")
