"""The application that does nothing, for servers that ours might run on."""

ANSWER = b'{"prediction":{"height_inches":73.23,"height_human_readable":"6 foot, 1 inches"}}\n'


def app(environ, start_response):
    """Read the body, and answer the same bytes to everything."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))])
    return [ANSWER]
