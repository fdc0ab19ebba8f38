"""Offline A/B: arms in, one report out that a launch can be decided on.

In the order data passes them: `arms` (what is compared), `baselines` (popular, recent, random), `slates`
(what each arm shows the held-out users), `metrics` (was it right), `spread` (what is shown at all), `slices`
(by history, by day), `statistics` and `compare` (intervals and lifts), `verdict` (the sentence and the
warnings), `examples` (slates to look at), `content` (all numbers of a report), `charts`, `figures`, `words`
and `style` (how it looks), `sections` and `gallery` (what it shows), `report` and `markdown` (the pages),
`pipeline` (all of it, in order). `cold` and `fusions` compare ways to put modalities together.

`space_report` looks at the space of the embeddings instead: `space_vectors` and `space_truth` (what is near,
and what belongs together), `space_retrieval`, `space_geometry`, `space_drift`, `space_survey` (measured),
`space_content`, `space_listing`, `space_verdict`, `space_words` (said), and the pages, `space_*` likewise.
"""
