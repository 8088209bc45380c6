"""Validates the OpenAPI documents named on the command line; prints every fault of each."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator

wrong = False
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    if not str(document.get("openapi", "")).startswith("3.1."):
        print(f"{path}: not OpenAPI 3.1", file=sys.stderr)
        wrong = True
        continue
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        place = "/".join(str(part) for part in error.absolute_path)
        print(f"{path}: /{place}: {error.message}", file=sys.stderr)
        wrong = True
sys.exit(1 if wrong else 0)
