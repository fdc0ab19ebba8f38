"""What a browser and an operator fetch: the Studio, thumbnails, media, reports, health and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from features.errors import NotFound, StoreUnavailable
from serving.live import Live
from serving.problems import problem, request_id_of

router = APIRouter(include_in_schema=False)
health = APIRouter()

STUDIO: Final = Path(__file__).parent / "studio"

STATIC: Final = {
    "index.html": "text/html; charset=utf-8",
    "docs.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Every file of the Studio; nothing else is served from its folder."""

Key = Annotated[int, PathParameter(ge=0, lt=1 << 63)]

REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""A report is one file with its styles and pictures inside, and no script."""

_BLANK: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 180" width="320" height="180">
<defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="hsl({hue} 45% 42%)"/>
<stop offset="1" stop-color="hsl({other} 50% 26%)"/></linearGradient></defs>
<rect width="320" height="180" fill="url(#g)"/>
<circle cx="250" cy="40" r="70" fill="#fff" fill-opacity=".07"/>
<circle cx="60" cy="160" r="90" fill="#fff" fill-opacity=".06"/>
</svg>"""


@router.get("/")
async def studio() -> FileResponse:
    """The Studio."""
    return _static("index.html")


@router.get("/docs")
async def docs() -> FileResponse:
    """The API's description for people; /openapi.json is the one for machines."""
    return _static("docs.html")


@router.get("/studio/{name}")
async def studio_file(name: str) -> FileResponse:
    """One file of the Studio."""
    if name not in STATIC:
        raise NotFound(f"the Studio has no file {name!r}")
    return _static(name)


@router.get("/thumbnails/{video_key}.preview.webp")
async def preview(request: Request, video_key: Key) -> Response:
    """A few seconds of a video, moving; its thumbnail where nothing moves."""
    live = _live(request)
    path = live.workspace.preview(video_key)
    if await live.pages.run(path.is_file):
        return FileResponse(path, media_type="image/webp", headers={"Cache-Control": "public, max-age=3600"})
    return await thumbnail(request, video_key)


@router.get("/thumbnails/{video_key}.webp")
async def thumbnail(request: Request, video_key: Key) -> Response:
    """A video's thumbnail; a drawn placeholder where it has none."""
    live = _live(request)
    path = live.workspace.thumbnail(video_key)
    if await live.pages.run(path.is_file):
        return FileResponse(path, media_type="image/webp", headers={"Cache-Control": "public, max-age=3600"})
    hue = video_key * 137 % 360
    drawn = _BLANK.format(hue=hue, other=(hue + 50) % 360)
    return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=60"})


@router.get("/media/{video_key}")
async def media(request: Request, video_key: Key) -> FileResponse:
    """A video's media file, or the part of it that was asked for; only files that were read at ingest."""
    live = _live(request)
    path = await live.pages.run(_media_path, live, video_key)
    return FileResponse(path, headers={"Cache-Control": "private, max-age=600"})


@router.get("/reports/{name}")
async def report_page(request: Request, name: str) -> FileResponse:
    """An offline A/B report."""
    live = _live(request)
    path = await live.pages.run(_report_path, live, name)
    return FileResponse(
        path, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": REPORT_POLICY}
    )


@health.get("/healthz")
async def healthz() -> JSONResponse:
    """200 while the worker lives."""
    return JSONResponse({"alive": True})


@health.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """200 once a bundle is on the desk; a store that is down is told, and slates are still served."""
    live = getattr(request.app.state, "live", None)
    if not isinstance(live, Live):
        return problem(503, "not-ready", "Not ready", "no bundle is loaded yet", request_id_of(request))
    store = await live.pages.run(_store_state, live)
    return JSONResponse(
        {"ready": True, "bundle": live.desk.name, "videos": len(live.desk.videos), "store": store}
    )


@health.get("/metrics")
async def metrics(request: Request) -> PlainTextResponse:
    """What this worker counted and timed, and what the store holds, in Prometheus text."""
    live = _live(request)
    await live.pages.run(live.measure_store)
    return PlainTextResponse(live.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _static(name: str) -> FileResponse:
    return FileResponse(STUDIO / name, media_type=STATIC[name], headers={"Cache-Control": "no-cache"})


def _media_path(live: Live, video_key: Key) -> Path:
    desk = live.desk
    row = desk.row_of_key(video_key)
    uri = desk.shelf.uris[row] if row >= 0 else None
    path = Path(uri.removeprefix("file://")) if uri else None
    if path is None or not path.is_file():
        raise NotFound(f"video {video_key} has no media file here")
    return path


def _report_path(live: Live, name: str) -> Path:
    reports = (live.workspace.root / "reports").resolve()
    path = (reports / name / "report.html").resolve()
    if not path.is_relative_to(reports) or not path.is_file():
        raise NotFound(f"there is no report {name!r}")
    return path


def _store_state(live: Live) -> str:
    try:
        return "empty" if live.kitchen.breaker.call(live.store.is_empty) else "ok"
    except StoreUnavailable as error:
        return f"unavailable: {error}"


def _live(request: Request) -> Live:
    live = request.app.state.live
    assert isinstance(live, Live)
    return live
