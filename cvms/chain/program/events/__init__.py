"""Events of the vault program, parsed from logs or replayed from instructions."""
