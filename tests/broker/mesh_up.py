"""`mesh up` with small processes in the place of the hops: `python -m tests.broker.mesh_up DIRECTORY`.

The servers and the supervisor are the real ones. `registry` answers `/subjects`; `hop` runs until told to stop; `fragile` ends at
once as long as a file `fragile` lies in the directory.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.host.up import up

REGISTRY = """
import http.server, sys
class Subjects(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"[]")
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Subjects).serve_forever()
"""
HOP = "import os, time; print('kafka at', os.environ['MESH_KAFKA'], flush=True); time.sleep(3600)"
FRAGILE = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).exists() and sys.exit(3); time.sleep(3600)"


def processes(directory: Path, ports: Mapping[str, int]) -> Mapping[str, Sequence[str]]:
    return {
        "registry": [sys.executable, "-c", REGISTRY, str(ports["registry"])],
        "hop": [sys.executable, "-c", HOP],
        "fragile": [sys.executable, "-c", FRAGILE, str(directory / "fragile")],
    }


if __name__ == "__main__":
    sys.exit(up(Path(sys.argv[1]), processes))
