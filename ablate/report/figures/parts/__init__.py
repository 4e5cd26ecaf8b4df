"""What figures are made of: the sheet, axes, marks, facts, what stands at a point."""
