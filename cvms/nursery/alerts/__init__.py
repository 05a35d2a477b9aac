"""Alert monitor, its rules, and the conditions that the rules evaluate."""
