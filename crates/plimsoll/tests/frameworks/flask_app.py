"""A Flask service as its users write it."""

import time

from flask import Flask, request

app = Flask(__name__)


@app.get("/hello")
def hello():
    return {"hello": "world"}


@app.get("/slow")
def slow():
    seconds = float(request.args.get("seconds", "1"))
    app.logger.warning("slow request began")
    time.sleep(seconds)
    return {"slept": seconds}
