"""Measures supervisors too, in a run for coverage: `make coverage` puts this folder on PYTHONPATH.

The product starts a supervisor with `-I -S`, in which no measuring can begin by itself. So in every process that may
start one, its command is replaced by one that begins to measure and then runs the same file in the same way.
"""

import importlib.util
import os
import sys

CONFIG = "COVERAGE_PROCESS_CONFIG"
RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run_supervisor.py")


def measured(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Give the command that runs the supervisor and measures it; the same one where nothing is measured."""
    if CONFIG not in os.environ or "-S" not in argv:
        return argv
    place = argv.index("-S")
    return (*argv[:place], RUNNER, os.environ[CONFIG], *argv[place + 1 :])


class Patch:
    """Finds `stoker.engines.spawn` as usual and replaces its command once it is loaded."""

    def find_spec(self, name, path, target=None):
        """Give the module's own spec with a loader that patches it."""
        if name != "stoker.engines.spawn":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = self.executing(spec.loader.exec_module)
        return spec

    @staticmethod
    def executing(execute):
        """Give the loader's last step with the replacement after it."""

        def run(module):
            execute(module)
            plain = module.supervisor_argv
            module.supervisor_argv = lambda directory, name: measured(plain(directory, name))

        return run


sys.meta_path.insert(0, Patch())
