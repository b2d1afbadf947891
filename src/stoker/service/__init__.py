"""What users may ask: one verb per file."""
