"""Tables for a paper: one value, `PaperTable`, and one file a format that writes it as text.

The same study gives the same bytes: no date, no path, no name of a machine.
"""
