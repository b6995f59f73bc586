"""One module for each package, run in the package's own environment; nothing here imports our tests."""
