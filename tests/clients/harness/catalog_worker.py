"""Calls of the open-source Unity Catalog client, as JSON lines: `{"token", "api", "call", "arguments"}` in, what came
of it out. Runs in that client's own environment."""

import asyncio
import json
import sys

import unitycatalog.client as client


def built(value):
    """`{"model": NAME, ...}` as the client's own model."""
    if isinstance(value, dict) and "model" in value:
        fields = {key: built(inner) for key, inner in value.items() if key != "model"}
        return getattr(client, value["model"])(**fields)
    if isinstance(value, list):
        return [built(inner) for inner in value]
    return value


async def answer(host, request):
    configuration = client.Configuration(host=f"{host}/api/2.1/unity-catalog")
    async with client.ApiClient(configuration) as connection:
        connection.set_default_header("Authorization", f"Bearer {request['token']}")
        api = getattr(client, request["api"])(connection)
        arguments = {key: built(value) for key, value in request["arguments"].items()}
        try:
            value = await getattr(api, request["call"])(**arguments)
        except client.ApiException as error:
            return {"status": error.status, "body": json.loads(error.body or "{}")}
        value = value.to_dict() if hasattr(value, "to_dict") else value
        return {"status": 200, "value": json.loads(json.dumps(value, default=str))}


for line in sys.stdin:
    print(json.dumps(asyncio.run(answer(sys.argv[1], json.loads(line)))), flush=True)
