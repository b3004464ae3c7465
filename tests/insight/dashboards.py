"""A ``tines dashboard`` of its own, and how to ask it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys

__all__ = ["COMMAND", "Dashboard"]

COMMAND = [sys.executable, "-m", "tines", "dashboard"]


class Dashboard:
    """A running one, and how to ask it."""

    def __init__(self):
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = self.process.stdout.readline()
        found = re.fullmatch(
            r"tines dashboard: http://127\.0\.0\.1:(\d+)/\?token=(\S{16,})\n", said
        )
        assert found, (said, self.process.poll())
        self.process.stdout.readline()
        self.port, self.token = int(found[1]), found[2]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.end()

    def ask(self, path, *, method="GET", token=True, **headers):
        """Return the response and its text."""
        if token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()

    def say(self, path):
        response, text = self.ask(path)
        assert response.status == 200, text
        return text

    def api(self):
        return json.loads(self.say("/api"))

    def program(self, pid):
        """Return what is told of a program, ``None`` if it is not there."""
        return next((each for each in self.api()["programs"] if each["pid"] == pid), None)

    def end(self, number=signal.SIGINT):
        """Return the exit code, and what it printed at last."""
        self.process.send_signal(number)
        try:
            out, error = self.process.communicate(timeout=30)
        finally:
            self.process.kill()
        return self.process.returncode, out, error
