"""Runs a supervisor as `python -I -S` would, measured: `run_supervisor.py CONFIG FILE [--foreground] DIR`."""

import os
import runpy
import sys

import coverage

CONFIG = "COVERAGE_PROCESS_CONFIG"

os.environ[CONFIG] = sys.argv[1]
coverage.process_startup(force=True)
del os.environ[CONFIG]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
