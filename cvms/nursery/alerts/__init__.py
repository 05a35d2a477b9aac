"""Alert monitor: rules, and the conditions they are evaluated on."""
