"""Offline A/B: arms in, one report out that a launch can be decided on.

In the order data passes them: `arms` (what is compared), `baselines` (popular, recent, random), `slates`
(what each arm shows the held-out users), `metrics` (was it right), `spread` (what is shown at all), `slices`
(by history, by day), `statistics` and `compare` (intervals and lifts), `verdict` (the sentence and the
warnings), `examples` (slates to look at), `content` (all numbers of a report), `charts`, `figures`, `words`
and `style` (how it looks), `sections` and `gallery` (what it shows), `report` and `markdown` (the pages),
`pipeline` (all of it, in order).
"""
