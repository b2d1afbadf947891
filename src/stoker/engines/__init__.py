"""Where attempts run: the port, and the engines that plug into it."""
