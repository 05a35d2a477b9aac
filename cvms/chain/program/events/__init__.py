"""Events of the program, parsed from logs or replayed from instructions."""
