"""Uses a Bindery host as an agent would: `client.py URL MODE RECEPTOR LIGAND BOX`.

MODE is `legacy` (initialize and sessions) or `auto` (the newest revision both know). The token is
in BINDERY_TOKEN. What was seen goes to standard output as one JSON document; what is not as it
should be ends the program.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client


def text_of(result):
    return "\n".join(block.text for block in result.content if block.type == "text")


async def main(url, mode, receptor, ligand, box):
    seen = {}
    headers = {"authorization": f"Bearer {os.environ['BINDERY_TOKEN']}"}
    # A search takes its time on a machine that others use as well.
    timeout = httpx2.Timeout(30, read=600)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode) as client:
            seen["protocol"] = str(client.session.protocol_version)
            listed = await client.list_tools()
            tools = {tool.name: tool for tool in listed.tools}
            seen["tools"] = sorted(tools)

            echo = await client.call_tool("system_noop", {"parameters": {"say": "hello"}})
            assert not echo.is_error, text_of(echo)
            seen["noop"] = echo.structured_content

            wrong = await client.call_tool("system_sleep", {"parameters": {"seconds": -1, "x": 1}})
            assert wrong.is_error
            seen["wrong"] = wrong.structured_content
            seen["wrong_text"] = text_of(wrong)

            uploaded = await client.call_tool(
                "bindery_upload_file", {"name": "l.sdf", "text": Path(ligand).read_text()}
            )
            assert not uploaded.is_error, text_of(uploaded)
            progress = []

            async def on_progress(done, total, message):
                progress.append([done, total, message])

            docked = await client.call_tool(
                "docking_vina",
                {
                    "inputs": {
                        "receptor": {"text": Path(receptor).read_text(), "name": "r.pdb"},
                        "ligand": uploaded.structured_content["id"],
                    },
                    "parameters": {
                        "box": json.loads(Path(box).read_text()),
                        "exhaustiveness": 2,
                        "seed": 42,
                    },
                    "wait_seconds": 600,
                },
                progress_callback=on_progress,
            )
            assert not docked.is_error, text_of(docked)
            seen["docked"] = docked.structured_content
            seen["progress"] = progress
            links = [block for block in docked.content if block.type == "resource_link"]
            seen["links"] = {link.name: str(link.uri) for link in links}
            poses = next(link for link in links if link.name == "poses.sdf")
            read = await client.read_resource(str(poses.uri))
            seen["poses"] = read.contents[0].text

            resources = await client.list_resources()
            seen["resources"] = [str(resource.uri) for resource in resources.resources]
            docs = await client.read_resource("bindery://tasks/docking.vina")
            seen["docs"] = docs.contents[0].text

            slow = await client.call_tool(
                "system_sleep", {"parameters": {"seconds": 600}, "wait_seconds": 1}
            )
            assert not slow.is_error, text_of(slow)
            seen["slow"] = slow.structured_content
            execution = {"execution_id": slow.structured_content["execution_id"]}
            stopped = await client.call_tool("bindery_cancel_execution", execution)
            assert not stopped.is_error, text_of(stopped)
            ended = await client.call_tool(
                "bindery_get_execution", {**execution, "wait_seconds": 60}
            )
            seen["stopped"] = ended.structured_content

            # A call that is given up stops what it began.
            call = asyncio.create_task(
                client.call_tool(
                    "system_sleep", {"parameters": {"seconds": 599}, "wait_seconds": 600}
                )
            )
            await asyncio.sleep(2)
            call.cancel()
            try:
                await call
            except asyncio.CancelledError:
                pass
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
