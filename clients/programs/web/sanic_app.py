"""A Sanic application: what it is asked for is computed, or says who answers."""

from __future__ import annotations

import os
import time

from sanic import Sanic
from sanic.response import text

app = Sanic("clients")


@app.get("/")
async def hello(request):
    return text("hello")


@app.get("/work")
async def work(request):
    return text(str(sum(i * i for i in range(int(request.args.get("n"))))))


@app.get("/missing")
async def missing(request):
    return text("nothing here", status=404)


@app.get("/worker")
async def worker(request):
    time.sleep(0.02)
    return text(str(os.getpid()))
