"""What deploy/ holds works: each form runs, or is validated by the schema of its tool."""
