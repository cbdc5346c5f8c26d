"""Pages that show several apps at once; they render their fragments on the server."""
