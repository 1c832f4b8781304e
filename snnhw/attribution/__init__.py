"""Why the integers do other things than the float network: which parameter's rounding, and what would help."""
