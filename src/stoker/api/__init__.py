"""The HTTP faces of the server."""
