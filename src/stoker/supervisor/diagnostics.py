"""What the supervisor says of its own troubles, to its standard error; a full disk must not make them worse."""

from __future__ import annotations

import sys


def complain(text: str) -> None:
    """Say one sentence."""
    _try_to(lambda: sys.stderr.write(text + "\n"))


def report_fault() -> None:
    """Write down the exception that is being handled, with its traceback."""
    _try_to(lambda: sys.excepthook(*sys.exc_info()))


def _try_to(speak: Callable[[], object]) -> None:
    try:
        speak()
    except OSError:
        return


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
