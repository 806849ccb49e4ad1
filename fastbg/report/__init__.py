"""Reports: each module renders the same result in its own way."""
