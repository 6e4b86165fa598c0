"""A FastAPI service as its users write it: it knows nothing of Plimsoll."""

import asyncio
import logging

from fastapi import FastAPI

app = FastAPI()
log = logging.getLogger("uvicorn.error")


@app.get("/hello")
async def hello():
    return {"hello": "world"}


@app.get("/slow")
async def slow(seconds: float = 1.0):
    log.info("slow request began")
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@app.get("/broken")
async def broken():
    raise RuntimeError("boom")
