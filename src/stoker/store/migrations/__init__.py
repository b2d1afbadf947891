"""The migrations, run by `stoker.store.migrate`."""
