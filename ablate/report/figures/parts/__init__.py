"""Parts of figures: sheet, axes, marks, facts, hover texts."""
