"""JSON-RPC error codes of Solana nodes and of the providers in front of them.

Source: https://www.jsonrpc.org/specification and Agave's rpc-client-api/src/custom_error.rs.
"""

INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603

NODE_UNHEALTHY = -32005
"""The node is behind the cluster. Some providers use it for their rate limit."""
SLOT_SKIPPED = -32007
LONG_TERM_STORAGE_SLOT_SKIPPED = -32009
MIN_CONTEXT_SLOT_NOT_REACHED = -32016

BEHIND = frozenset({NODE_UNHEALTHY, MIN_CONTEXT_SLOT_NOT_REACHED})
"""The node has not yet seen what another node has."""
SKIPPED = frozenset({SLOT_SKIPPED, LONG_TERM_STORAGE_SLOT_SKIPPED})

RATE_LIMITED = frozenset({429, -32429})
"""Codes that providers use for nothing but their rate limit."""
MAYBE_RATE_LIMITED = frozenset(
    {-32000, -32029, -32097, NODE_UNHEALTHY, SLOT_SKIPPED, INTERNAL_ERROR, INVALID_REQUEST}
)
"""Codes that providers use for their rate limit and for other errors: the message decides."""
