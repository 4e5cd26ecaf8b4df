"""A Ray cluster looked at before it is used: its address, its nodes, what they share."""
