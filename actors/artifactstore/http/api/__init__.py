"""The HTTP API below `/v1`: routing, checks, authorisation and the OpenAPI document follow from one table of routes.

`table` lists the routes, `application` answers requests by it, and `openapi` describes it. It is plain ASGI beside
Quart, which would buffer bodies.
"""
