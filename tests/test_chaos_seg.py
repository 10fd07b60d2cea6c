import subprocess
import sys

import pytest


@pytest.mark.slow
def test_importing_the_package_takes_no_time() -> None:
    code = "import chaos_seg, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
