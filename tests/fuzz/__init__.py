"""Long runs with random requests, scripts, journals and files: ``python -m tests.fuzz``. The tests have short ones."""
