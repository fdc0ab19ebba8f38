"""Serving: one request in, one slate out, inside a time budget; and the Studio, a page that shows it.

In the order a request passes them:

`settings.py`     how a server runs
`server.py`       port, Redis, keeper and workers
`upkeep.py`       fills an empty store, and moves feedback from it into the workspace
`app.py`          the application of one worker
`live.py`         what a worker holds while it lives; takes newly published bundles
`desk.py`         what one bundle brings: model, shelf of the catalogue, query encoder
`gate.py`         request id, bound on the body, security headers
`requests.py`     strict schemas of what a caller may send
`problems.py`     every failure as problem+json
`executor.py`     threads for blocking work, and a bound on who may wait
`api.py`          the v1 endpoints
`pipeline.py`     the stages of a slate in order, and its ladder:
`timing.py`       - the request's clock and budget
`parse.py`        - the request, understood
`fetch_user.py`   - the visitor's history, in one round trip
`retrieve.py`     - candidates from every source
`eligible.py`     - only what may be shown now
`score.py`        - one score a candidate
`diversify.py`    - the slate, each video good and unlike the others
`present.py`      - rows turned into what a caller reads
`degrade.py`      - the best rung that works, and a breaker
`expose.py`       what was shown, logged after the response
`feedback.py`     events on their way in
`search.py`       videos for words, and videos like a video
`pages.py`        Studio, thumbnails, media, reports, health, metrics
`metrics.py`      counters and histograms
`studio/`         the page itself
"""
