"""Settlement of quarantined submissions by a person, on evidence."""
