"""Building, signing, simulating and sponsoring transactions."""
