"""Parameters, errors and the view of the chain that every RPC method uses."""
