"""Servers with two workers: asked by many at once, then stopped as with Ctrl-C."""

from __future__ import annotations

from clients.client import Client, Server

__all__ = ["CLIENTS"]

_ADDRESS = "127.0.0.1:{port}"
_PORT = ("--host", "127.0.0.1", "--port", "{port}")

CLIENTS = (
    Client(
        "uvicorn",
        ("uvicorn>=0.30",),
        ("-m", "uvicorn", "asgi_app:app", "--workers", "2", *_PORT),
        files=("web/asgi_app.py",),
        server=Server(),
        limit=40,
    ),
    Client(
        "sanic",
        ("sanic>=23.12",),
        ("-m", "sanic", "sanic_app:app", "--workers", "2", *_PORT),
        files=("web/sanic_app.py",),
        server=Server(),
        limit=40,
    ),
    Client(
        "gunicorn",
        ("gunicorn>=22",),
        ("-m", "gunicorn", "wsgi_app:app", "--workers", "2", "--bind", _ADDRESS),
        files=("web/wsgi_app.py",),
        server=Server(),
        limit=40,
    ),
    Client(
        "hypercorn",
        ("hypercorn>=0.17",),
        ("-m", "hypercorn", "asgi_app:app", "--workers", "2", "--bind", _ADDRESS),
        files=("web/asgi_app.py",),
        server=Server(),
        limit=40,
    ),
    Client(
        "granian",
        ("granian>=1.6",),
        ("-m", "granian", "asgi_app:app", "--interface", "asgi", "--workers", "2", *_PORT),
        files=("web/asgi_app.py",),
        server=Server(),
        limit=40,
    ),
)
