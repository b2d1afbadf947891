"""The attempt directory: where everything lies, how it is written, and the wire between the processes."""
