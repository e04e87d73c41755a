"""What the benchmark knows of the servers that it starts."""

from __future__ import annotations

import json
from pathlib import Path

from bench import servers


def test_the_log_tells_which_process_is_which(tmp_path: Path) -> None:
    """As lines of JSON, and as a person reads them; a process that ended is not one that started."""
    log = tmp_path / "gateway.log"
    log.write_text(
        "\n".join(
            (
                json.dumps({"event": "process.started", "kind": "exchange", "pid": 12, "level": "info"}),
                json.dumps({"event": "delivery.processed", "kind": "x", "pid": 13}),
                "12:00:00 info  process.started  kind=pipeline pid=14",
                json.dumps({"event": "process.ended", "kind": "scheduler", "pid": 15, "reason": "signal 9"}),
            )
        )
    )
    assert servers.processes(log) == {12: "exchange", 14: "pipeline"}
