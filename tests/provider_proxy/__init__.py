"""A proxy before a node that answers as RPC providers do: it refuses, loses, cuts and rewords.

`provider` starts one; its `faults` may change at any time. The faults are those that public reports
and the providers' own documents describe.
"""

from tests.provider_proxy.provider import Provider, provider, serve_provider

__all__ = ["Provider", "provider", "serve_provider"]
