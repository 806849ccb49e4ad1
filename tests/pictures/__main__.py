"""Runs the scripts of the given pictures (default: all), records the runs and draws the pictures."""

import json
import sys
import tempfile
from pathlib import Path

from fastbg.report.picture import save_picture
from tests.pictures import FOLDER, NAMES, result_of, run

for name in sys.argv[1:] or NAMES:
    with tempfile.TemporaryDirectory() as folder:
        recorded = run(name, Path(folder))
    (FOLDER / f"{name}.json").write_text(json.dumps(recorded, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    save_picture([result_of(name, recorded)], FOLDER / f"{name}.svg")
