"""Starts the supervisor of one attempt: `python -I -S …/stoker/supervisor/__main__.py [--foreground] ATTEMPT_DIR`.

Here it only gets out of the way of whoever started it; what it does then is in `startup`. With `--foreground` it stays
the caller's child, for engines whose batch step it is.
"""

import os
import sys
from types import ModuleType

USAGE, NO_INPUT = 64, 66
FOREGROUND = "--foreground"


class Deferred(ModuleType):
    """Stands in for a module of the standard library until something of it is asked for.

    `dataclasses` imports `inspect`, a megabyte and several milliseconds, for classes without a docstring only.
    """

    def __getattr__(self, name: str) -> object:
        """Load the module after all."""
        del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), name)


def main(arguments: list[str]) -> int:
    """Detach, then supervise until the attempt has ended. Returns the exit status, from <sysexits.h>."""
    foreground = FOREGROUND in arguments
    places = [argument for argument in arguments if argument != FOREGROUND]
    if len(places) != 1:
        sys.stderr.write(f"Usage: {sys.argv[0]} [{FOREGROUND}] ATTEMPT_DIR\n")
        return USAGE
    root = os.path.realpath(places[0])
    if not os.path.isdir(root):
        sys.stderr.write(f"There is no attempt directory at {root}\n")
        return NO_INPUT
    if not foreground:
        detach(os.path.join(root, "supervisor.log"))
    sys.modules.setdefault("inspect", Deferred("inspect"))
    # Everything is loaded here and nothing later, so that the package may be replaced under a running supervisor.
    from stoker.supervisor.startup import supervise  # noqa: PLC0415  after the detaching, that is the point

    return supervise(root)


def detach(log: str) -> None:
    """Go on in a child of nobody here, in a session of its own and with nothing inherited; the caller's child ends."""
    from stoker.supervisor.descriptors import close_all_but, redirect  # noqa: PLC0415  once its place is known

    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    redirect(null, output)
    close_all_but(())


if __name__ == "__main__":
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if home not in sys.path:
        sys.path.insert(0, home)
    sys.exit(main(sys.argv[1:]))
