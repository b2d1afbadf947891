"""The process that owns one attempt's tree; standard library only, started as `python -m stoker.supervisor DIR`."""
