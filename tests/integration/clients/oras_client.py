"""A client of OCI registries that we did not write, against a Bindery host.

oras_client.py REGISTRY REPOSITORY TAG OUT: the token is in the environment, as ORAS_PASS.
Prints one JSON document: the tags, the files that were pulled, and what became of a push.
"""

import json
import os
import sys

import oras.provider

registry, repository, tag, out = sys.argv[1:]
client = oras.provider.Registry(hostname=registry, insecure=True, auth_backend="basic")
client.auth.set_basic_auth("anyone", os.environ["ORAS_PASS"])

pulled = client.pull(target=f"{registry}/{repository}:{tag}", outdir=out)
manifest = client.get_manifest(f"{registry}/{repository}:{tag}")
tags = client.get_tags(f"{registry}/{repository}")

# Something that is no package: kept as it is, in a repository of its own.
note = os.path.join(out, "note.txt")
with open(note, "w", encoding="utf-8") as file:
    file.write("hello\n" * 1000)
target = f"{registry}/notes/one:v1"
pushed = client.push(target=target, files=[note], disable_path_validation=True)
back = client.pull(target=target, outdir=os.path.join(out, "back"))
with open(back[0], encoding="utf-8") as file:
    same = file.read() == "hello\n" * 1000

print(
    json.dumps(
        {
            "pulled": pulled,
            "tags": tags,
            "config": manifest["config"]["mediaType"],
            "pushed": pushed.status_code,
            "same": same,
        }
    )
)
