"""From events and vectors to a versioned bundle, and from a bundle and a history to recommendations.

Files, in the order data passes them:

- training: `splits` (what is held out), `examples` (positive pairs and their histories), `two_tower`
  (torch), `item_item`, `popularity`, `content`, `blend` and `trees` (what the held-out slice decides),
  `index`, `card`, `bundle` (written whole, loaded without torch); `pipeline.train` calls them in that order.
  `fusion` and `fusion_torch` put a video's id and modalities together; `item_graph` is what training leaves
  to the next night.
- a request: `history_rows` (the history in a bundle's terms), `user_vector` (the towers in NumPy),
  `retrieve` (candidates from every source), `score`, `recommend` (the best k, or a Parquet file for all
  users), `explain`.
- `evaluation/` measures bundles against each other.
"""
