"""The application: its state for a lifetime, its gate, its routes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from features.redis_server import open_redis
from serving import api, pages
from serving.gate import Gate
from serving.live import Live, open_live, watching
from serving.metrics import Metrics
from serving.problems import install_problems
from serving.settings import ServeSettings

API_VERSION: Final = "1"


def create_app(settings: ServeSettings, live: Live | None = None) -> FastAPI:
    """The API and the Studio of one worker.

    Args:
        settings: of the server.
        live: the worker's state, opened already; the app closes it. Without it the app opens one when it
            starts, and brings a private Redis where the settings name none; a named one need not answer.
    """
    metrics = live.metrics if live else Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with contextlib.ExitStack() as stack:
            opened = live
            if opened is None:
                opened = await run_in_threadpool(_open, settings, metrics, stack)
            stack.callback(opened.close)
            app.state.live = opened
            async with watching(opened):
                yield
            del app.state.live

    app = FastAPI(
        title="Reelrank",
        summary="Personal video recommendations from what is seen, heard, read and watched.",
        version=API_VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(api.router, tags=["v1"])
    app.include_router(pages.health, tags=["health"])
    app.include_router(pages.router)
    install_problems(app)
    app.add_middleware(Gate, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    return app


def _open(settings: ServeSettings, metrics: Metrics, stack: contextlib.ExitStack) -> Live:
    url = settings.redis_url or stack.enter_context(open_redis(None, settings.workspace / "redis"))
    return open_live(replace(settings, redis_url=url), metrics)
