"""Apps for tests of `fastbg draft`. `shapes` has every kind of parameter, body and route, with strict validation."""
