"""Analytics: what was searched, what was found, what was clicked."""
