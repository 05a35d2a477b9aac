"""Everything a developer needs on one machine: database, chain and server. Never in production."""
