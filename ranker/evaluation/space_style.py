"""How the report of a space looks, beyond what all reports share."""

from typing import Final

from ranker.evaluation.style import CSS

SPACE_CSS: Final = (
    CSS
    + """
.verdict.aligned { border-color: var(--good); } .verdict.unaligned { border-color: #8c6d00; }
.bars, .drift { min-width: 0; width: 100%; max-width: 640px; }
.bars th, .bars td { padding: 5px 8px 5px 0; } .bars th { white-space: nowrap; }
.bars td:nth-child(2) { width: 50%; min-width: 72px; }
.bar { display: block; height: 13px; margin-top: 4px; background: var(--blue); border-radius: 2px; }
.bars tr.none .bar { background: var(--alarm); }
.bars tr.zero { color: var(--muted); } .bars tr.zero th { font-weight: 400; }
.near { display: grid; grid-template-columns: 62px minmax(0, 1fr); gap: 0 14px; margin: 10px 0 0; }
.near h4 { margin: 0; font-size: 13px; color: var(--muted); font-weight: 600; padding-top: 2px; }
.near ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 0 16px;
  grid-template-columns: repeat(5, minmax(0, 1fr)); }
.asked { max-width: 420px; } .asked .name { font-size: 15px; font-weight: 600; }
.odd { list-style: none; margin: 10px 0 0; padding: 0; display: grid; gap: 4px 24px;
  grid-template-columns: repeat(2, minmax(0, 1fr)); }
.odd .video { margin-bottom: 10px; } .list { margin-top: 22px; }
@media screen and (max-width: 600px) {
  .near { grid-template-columns: minmax(0, 1fr); } .near ol { gap: 0 8px; margin-top: 4px; }
  .near .video { display: block; } .near .video img, .near .video .blank { width: 100%; height: 46px; }
  .near .pictured .name { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); white-space: nowrap; }
  .bars th { white-space: normal; } .shape th small { display: none; }
  .shape th, .shape td { padding: 6px 5px; }
  .scroll .shape th:first-child { min-width: 86px; padding-left: 0; }
  .odd { grid-template-columns: minmax(0, 1fr); }
}
@media print { .near ol { grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 0 8px; } }
"""
)
