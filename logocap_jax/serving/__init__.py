"""A local page: the people in a photograph, and the maps behind them."""
