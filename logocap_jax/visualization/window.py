"""A window for pictures while they are made, by Matplotlib: OpenCV comes without."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from matplotlib.image import AxesImage


class Window:
    """A window that shows the latest picture; `closed` once the user has closed it."""

    def __init__(self, title: str) -> None:
        """Open it.

        Raises:
          ValueError: if there is no screen.
        """
        # Here: importing it takes a second, which nobody without a window need wait.
        import matplotlib
        import matplotlib.pyplot as plt
        from matplotlib.backends import BackendFilter, backend_registry

        with matplotlib.rc_context({"toolbar": "None"}):
            self._figure = plt.figure(title)
        interactive = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
        if matplotlib.get_backend().lower() not in map(str.lower, interactive):
            plt.close(self._figure)
            raise ValueError(
                "got no screen that Matplotlib can open a window on (its backend is "
                f"{matplotlib.get_backend()!r}); leave out --show, or install a "
                "toolkit such as PySide6"
            )
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._shown: AxesImage | None = None
        self._shape: tuple[int, ...] = ()
        self.closed = False
        self._figure.canvas.mpl_connect("close_event", self._on_close)
        self._figure.show()

    def show(self, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Show a picture in place of the last one."""
        if self.closed:
            return
        if self._shown is None or picture.shape != self._shape:
            self._axes.clear()
            self._axes.set_axis_off()
            self._shown = self._axes.imshow(picture)
            self._shape = picture.shape
        else:
            self._shown.set_data(picture)
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()

    def close(self) -> None:
        """Close the window."""
        import matplotlib.pyplot as plt

        plt.close(self._figure)

    def _on_close(self, event: object) -> None:
        del event
        self.closed = True
