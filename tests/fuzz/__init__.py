"""Long runs of random requests, scripts, journals and files: ``python -m tests.fuzz``. The suite has short ones."""
