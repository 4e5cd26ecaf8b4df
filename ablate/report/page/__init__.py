"""The report: one HTML page without network requests."""
