"""Where the truth about jobs is kept: the port, and the databases that plug into it."""
