"""What an attempt runs: the port, and the recipes that plug into it."""
