"""The floor: a pass-through with nothing on, on the same server and the same HTTP client as Mainstay.

python -m bench.bare PORT UPSTREAM_PORT
"""

from __future__ import annotations

import sys

import msgspec
import uvicorn

from mainstay.parts.http import Http


class Bare:
    def __init__(self, upstream: int) -> None:
        url = f"http://127.0.0.1:{upstream}/v1/chat/completions"
        self.endpoint = Http().endpoint(url, {"content-type": "application/json"})

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["method"] != "POST":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        body = (await receive())["body"]
        asked = msgspec.json.decode(body)
        async with self.endpoint.post(msgspec.json.encode(asked)) as reply:
            kind = b"text/event-stream" if reply.streams else b"application/json"
            if reply.streams:
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
                async for data in reply.chunks():
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return
            answer = await reply.read()
            msgspec.json.decode(answer)
            headers = [(b"content-type", kind), (b"content-length", str(len(answer)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        Bare(int(sys.argv[2])),
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
