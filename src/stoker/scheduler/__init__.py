"""The loops of the server: claim, launch, watch, reconcile, retry, prune."""
