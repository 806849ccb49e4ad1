"""The built-in scripts: TOML files, each beside the small app that it needs."""
