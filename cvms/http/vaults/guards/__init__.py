"""Routes for an owner's guards: their changes, the exit, and what is taken back."""
