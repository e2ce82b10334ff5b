"""The same behind a2wsgi, the usual adapter from ASGI to WSGI."""

from a2wsgi import WSGIMiddleware
from plain import app

asgi = WSGIMiddleware(app, workers=8)
