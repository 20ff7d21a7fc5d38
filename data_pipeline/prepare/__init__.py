"""Download and write data sets as ArrayRecord."""
