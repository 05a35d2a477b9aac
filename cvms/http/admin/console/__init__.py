"""Routes of the operators' console, beside those that other administrators' routes answer."""
