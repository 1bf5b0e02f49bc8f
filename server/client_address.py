"""Address of the client that sent a request: whose limits it counts against."""

from aiohttp import web


def client_address(request: web.Request) -> str:
    """Its IP address; empty where it came by a socket that has none."""
    return request.remote or ""
