"""One person at a time, from a crop; spatial-aware regression and what it is up to."""
