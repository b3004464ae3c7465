"""A WSGI application: what it is asked for is computed, or says who answers."""

from __future__ import annotations

import os
import time


def app(environ, start_response):
    status, body = "200 OK", b""
    path = environ["PATH_INFO"]
    if path == "/":
        body = b"hello"
    elif path == "/work":
        n = int(environ["QUERY_STRING"].partition("=")[2])
        body = str(sum(i * i for i in range(n))).encode()
    elif path == "/worker":
        time.sleep(0.02)
        body = str(os.getpid()).encode()
    else:
        status, body = "404 Not Found", b"nothing here"
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]
