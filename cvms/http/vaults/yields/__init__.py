"""Routes of yield: deposits into protocols, policies, status and rates."""
