"""Settings: their declaration, and their values from the environment and from `.env`."""
