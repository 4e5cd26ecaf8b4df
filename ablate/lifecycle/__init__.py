"""The life of a study: from what the user names to rows that have ended."""
