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
runpy.run_module("stoker.supervisor", run_name="__main__", alter_sys=True)  # by name: a path has no place in a package
