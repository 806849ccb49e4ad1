"""The built-in scripts: TOML files, and a small app for each."""
