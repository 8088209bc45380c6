"""Times of Extism for what `peers` measures. Prints one JSON document: name -> seconds.

    extism_calls.py GUEST.wasm PARAMETERS.json CALLS
"""

import json
import struct
import sys
import time

import extism
from extism.extism import CompiledPlugin


def times(calls, work):
    """Seconds of each call; a tenth more comes first and is not counted."""
    seconds = []
    for turn in range(calls + calls // 10):
        started = time.perf_counter_ns()
        work()
        if turn >= calls // 10:
            seconds.append((time.perf_counter_ns() - started) / 1e9)
    return seconds


def main():
    wasm = open(sys.argv[1], "rb").read()
    parameters = open(sys.argv[2]).read()
    calls = int(sys.argv[3])
    plugin = extism.Plugin(wasm)
    compiled = CompiledPlugin(wasm)

    def fresh():
        instance = extism.Plugin(compiled)
        answer = json.loads(bytes(instance.call("validate", parameters)))
        assert "parameters" in answer, answer

    result = {
        "fresh": times(calls // 10, fresh),
        "reused": times(calls, lambda: plugin.call("validate", parameters)),
    }
    for rows in (1_000, 1_000_000):
        batch = struct.pack(f"<{rows}d", *([1.0] * rows))
        answer = bytes(plugin.call("totals", batch))
        assert struct.unpack("<d", answer[-8:])[0] == rows
        result[f"rows_{rows}"] = times(
            max(20, calls * 100 // rows), lambda: bytes(plugin.call("totals", batch))
        )
    json.dump(result, sys.stdout)


main()
