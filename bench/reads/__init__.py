"""What a read costs: the queries, and the requests that make them."""
