"""Drawing: poses, maps, charts; and a window to show them."""
