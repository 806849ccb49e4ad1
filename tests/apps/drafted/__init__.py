"""Apps to draft scripts for; `shapes` has every kind of parameter, body and route, each strict about what it takes."""
