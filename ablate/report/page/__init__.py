"""The report: one HTML page that asks no network for anything."""
