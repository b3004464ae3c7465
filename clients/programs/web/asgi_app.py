"""An ASGI application: what it is asked for is computed, or says who answers."""

from __future__ import annotations

import os
import time


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    status, body = 200, b""
    if scope["path"] == "/":
        body = b"hello"
    elif scope["path"] == "/work":
        n = int(scope["query_string"].partition(b"=")[2])
        body = str(sum(i * i for i in range(n))).encode()
    elif scope["path"] == "/worker":
        time.sleep(0.02)
        body = str(os.getpid()).encode()
    else:
        status, body = 404, b"nothing here"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
