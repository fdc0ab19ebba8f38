"""The application: its state for a lifetime, its gate, its routes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from fastapi import FastAPI
from features.redis_server import open_redis
from starlette.concurrency import run_in_threadpool

from features.store import Store
from serving import api, pages
from serving.gate import Gate
from serving.live import Live, watching
from serving.metrics import Metrics
from serving.problems import install_problems
from serving.settings import ServeSettings

API_VERSION: Final = "1"


def create_app(settings: ServeSettings) -> FastAPI:
    """The API and the Studio of one worker.

    With `settings.redis_url` the app starts whether or not that Redis answers; without it the app brings a
    private one for its lifetime. Starting raises NotFound where no bundle is published.
    """
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with contextlib.ExitStack() as stack:
            url = settings.redis_url
            if url is None:
                private = open_redis(None, settings.workspace / "redis")
                url = await run_in_threadpool(stack.enter_context, private)
            store = Store.connect(url, settings.namespace, settings.store_timeout_ms / 1e3)
            live = await run_in_threadpool(Live, settings, store, metrics)
            stack.callback(live.close)
            app.state.live = live
            async with watching(live):
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
