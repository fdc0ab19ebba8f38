"""How the report looks: dark text on white, system fonts, one column on a telephone, figures whole."""

from typing import Final

CSS: Final = """
:root { color-scheme: light; --ink: #1b1f24; --muted: #59626d; --rule: #d9dde2; --soft: #f5f6f8;
  --good: #1e6b3c; --alarm: #b3261e; --blue: #1f5f99; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; -webkit-text-size-adjust: 100%;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial,
  sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 56px; }
h1 { font-size: 15px; font-weight: 600; margin: 0 0 10px; color: var(--muted); overflow-wrap: anywhere; }
h2 { font-size: 20px; line-height: 1.3; margin: 44px 0 4px; }
h3 { font-size: 15px; margin: 0 0 8px; overflow-wrap: anywhere; }
p { margin: 6px 0; max-width: 74ch; }
.muted, figcaption, .lead { color: var(--muted); font-size: 14px; }
.verdict { border-left: 5px solid var(--blue); padding: 2px 0 2px 16px; margin: 0 0 18px; }
.verdict.launch { border-color: var(--good); } .verdict.undecided { border-color: #8c6d00; }
.verdict b { display: block; font-size: 13px; letter-spacing: .02em; color: var(--muted); font-weight: 600; }
.verdict p { font-size: 24px; line-height: 1.32; font-weight: 600; margin: 2px 0 0; max-width: 46ch;
  overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 10px 24px;
  margin: 18px 0;
  padding: 14px 0; border-top: 1px solid var(--rule); border-bottom: 1px solid var(--rule); }
.facts dt { color: var(--muted); font-size: 13px; } .facts dd { margin: 0; font-weight: 600; }
.warnings { list-style: none; margin: 14px 0; padding: 0; font-size: 15px; max-width: 84ch; }
.warnings li { padding: 7px 12px; margin: 6px 0; background: var(--soft); border-left: 3px solid #8c6d00; }
.warnings li.alarm { border-color: var(--alarm); color: var(--alarm); font-weight: 600; background: #fdf3f2; }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px 40px; align-items: start; }
figure { margin: 14px 0 0; break-inside: avoid; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 8px; max-width: 66ch; }
.narrow { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 10px 0 4px; padding: 0; list-style: none;
  font-size: 14px; }
.legend li, .arm { display: inline-flex; align-items: center; gap: 5px; overflow-wrap: anywhere; }
.swatch { flex: none; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 14px; min-width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 12px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { font-weight: 600; border-bottom: 1.5px solid var(--ink); vertical-align: bottom; }
tbody th { font-weight: 600; text-align: left; }
h3 .muted { font-weight: 400; }
th .arm { white-space: nowrap; }
th small { font-weight: 400; }
td small, th small { display: block; color: var(--muted); font-size: 12px; }
td small { white-space: nowrap; }
.scroll th:first-child { position: sticky; left: 0; background: #fff; }
.clear { font-weight: 600; color: var(--ink); } .bad { color: var(--alarm); font-weight: 600; }
.user { border-top: 1px solid var(--rule); padding-top: 16px; margin-top: 20px; break-inside: avoid; }
.arms { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: 18px 22px;
  margin-top: 12px; }
.arms h4 { margin: 0 0 8px; font-size: 14px; }
.arms ol { list-style: none; margin: 0; padding: 0; }
.video { display: grid; grid-template-columns: 72px minmax(0, 1fr); gap: 10px; margin: 0 0 8px;
  font-size: 13px; line-height: 1.35; }
.video img, .video .blank { width: 72px; height: 54px; object-fit: cover; border-radius: 3px;
  background: #e8ebef; }
.video .blank { display: grid; place-items: center; color: var(--muted); font-size: 12px; }
.video .name { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden;
  overflow-wrap: anywhere; }
.video em { font-style: normal; color: var(--muted); font-size: 12px; }
.video .hit { color: var(--good); font-weight: 600; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 0 22px;
  list-style: none;
  margin: 6px 0 0; padding: 0; }
details { margin: 8px 0; } summary { cursor: pointer; font-weight: 600; }
.method dt { font-weight: 600; margin-top: 10px; } .method dd { margin: 0; max-width: 80ch; font-size: 15px; }
.inputs { font-size: 13px; } .inputs td, .inputs th { text-align: left; overflow-wrap: anywhere; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  overflow-wrap: anywhere; }
@media (max-width: 1000px) { .pair { grid-template-columns: minmax(0, 1fr); }
  .arms { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media screen and (max-width: 600px) {
  main { padding: 18px 16px 40px; }
  .wide { display: none; } .narrow { display: block; }
  .verdict { padding-left: 12px; } .verdict p { font-size: 20px; }
  h2 { margin-top: 34px; font-size: 18px; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .arms, .row { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px 12px; }
  .video { grid-template-columns: 56px minmax(0, 1fr); gap: 8px; font-size: 12px; }
  .video img, .video .blank { width: 56px; height: 42px; }
  th, td { padding: 6px 9px; } .scroll th:first-child { min-width: 104px; max-width: 128px; }
}
@media print {
  @page { margin: 14mm; }
  body { font-size: 11pt; } main { padding: 0; max-width: none; }
  h2 { break-after: avoid; margin-top: 24px; } .scroll { overflow: visible; }
  table { font-size: 8.5pt; } th, td { padding: 4px 6px; } td small, th small { font-size: 7pt; }
  .arms { grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: 10px; }
  .row { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  .video { grid-template-columns: 40px minmax(0, 1fr); gap: 6px; font-size: 7.5pt; }
  .video img, .video .blank { width: 40px; height: 30px; } .video .blank { font-size: 5.5pt; }
  .video em, .video .hit { font-size: 7pt; } .arms h4 { font-size: 9pt; }
  .facts { grid-template-columns: repeat(3, minmax(0, 1fr)); font-size: 10pt; }
  .pair { grid-template-columns: minmax(0, 1fr); } tr, .warnings li { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
