"""A study on the user's own machines that is broken and resumed: `ablate doctor --selftest`."""
