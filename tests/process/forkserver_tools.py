"""What the tests of the fork server share."""

from __future__ import annotations


def start(ctx, target, *args):
    process = ctx.Process(target=target, args=args, returns=True)
    process.start()
    return process
