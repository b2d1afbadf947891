"""Stoker tends training runs: it queues them, runs them, watches them, and proves that nothing is left behind."""
