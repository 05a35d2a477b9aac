"""What every RPC method uses: parameters, errors, and the view of the chain."""
