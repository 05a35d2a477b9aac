"""Write path: from an authenticated request to a planned, recorded transaction."""
