"""The life cycle of a study: finding, starting, resuming, confirming, exporting."""
