"""What a server's code does with a package that is not installed."""

import subprocess
import sys

from tests.services import ROOT

_USES = """
from tests.conformance.stand_ins.missing import bare, stub
stub("nowhere")
import nowhere.deep
from nowhere.deep import Base, EngineError, decorate

class Made(Base, total=False):
    part: nowhere.Tensor | None = None

@decorate
def kept():
    return 1

assert Made().part is None
assert kept() == 1
assert issubclass(EngineError, Exception)
1.0 / nowhere.tensor([1]).view(2)
bare("xml")
import xml.dom
print("fine")
"""


def test_its_modules_are_stubs_that_can_be_subclassed_and_called() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _USES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout == "fine\n", done.stderr
