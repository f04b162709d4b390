"""The report of a training, where the training ends."""

import subprocess
import sys
from pathlib import Path


def report_after_training(run: Path) -> str:
    """Write the report of a training that is over, in a process of its own.

    Whatever goes wrong, the training is not spoiled: its settings, its memory and its log stay as
    they are, also in a training of several processes, the first of which calls this.

    Returns:
        One line that says where the report is, or why there is none.
    """
    command = [sys.executable, "-m", "hiera_dense", "report", str(run)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"no report: {error}"
    lines = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).splitlines()
    last = lines[-1].strip() if lines else f"it ended with status {done.returncode}"
    if done.returncode == 0:
        return last
    return f"no report: {last}; hiera-dense report {run} tries again"
