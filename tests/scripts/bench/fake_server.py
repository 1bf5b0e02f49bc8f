"""Stands in for the real server in tests of what starts it: ready at once, and a child in its process group.

--fail: never ready. --stubborn: Ctrl-C does not end it. Its first line: its own process id and the child's.
"""

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        failed = "--fail" in sys.argv
        answer = {"reason": "cannot load the model: no such file", "max_sessions": 3, "model": None}
        self.send_response(503 if failed else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


if __name__ == "__main__":
    if "--stubborn" in sys.argv:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "3600"])
    print(os.getpid(), child.pid, flush=True)
    HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
