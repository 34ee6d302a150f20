"""How pages look: one column of calm text, figures that line up, and colours that every reader can tell apart."""

from __future__ import annotations

LIGHT = """--ink: #1b2430; --soft: #515d6a; --line: #d9dfe5; --paper: #fff; --shade: #f4f6f8; --calm: #1f5a8c;
  --bad: #9f2d22; --good: #1d6a43; --doubt: #7a5100; --mark: #fbf1ef;"""
DARK = """--ink: #e5e9ed; --soft: #a8b3be; --line: #353e48; --paper: #14181d; --shade: #1c2229; --calm: #82b7e8;
  --bad: #f29a92; --good: #7fcba3; --doubt: #e2b96a; --mark: #2b1f1f;"""
FORCED = """--ink: CanvasText; --soft: CanvasText; --line: GrayText; --paper: Canvas; --shade: Canvas;
  --calm: CanvasText; --bad: CanvasText; --good: CanvasText; --doubt: CanvasText; --mark: Canvas;"""

STYLE = (
    f"""
:root {{ color-scheme: light dark; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}
@media print {{ :root {{ color-scheme: light; {LIGHT} }} }}
@media (forced-colors: active) {{ :root {{ {FORCED} }} }}
"""
    + """
* { box-sizing: border-box; }
body { font: 1rem/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 46rem; padding: 1.5rem 1rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.15rem; color: var(--soft); font-weight: 600; margin: 0 0 1rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1.05rem; line-height: 1.35; margin: 1.6rem 0 .4rem; }
p, ul { margin: .5rem 0; } li { margin: .2rem 0; }
a { color: var(--calm); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--calm); outline-offset: 2px; }
.verdict { border-left: 6px solid var(--calm); background: var(--shade); padding: 1rem 1.2rem; }
.verdict.bad { border-color: var(--bad); background: var(--mark); }
.verdict strong { display: block; font-size: 1.35rem; line-height: 1.3; margin-bottom: .4rem; }
.warning { border: 2px solid var(--bad); padding: .5rem .9rem; font-weight: 600; }
.soft { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
th, td { text-align: right; padding: .32rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } tbody th { font-weight: 400; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td { white-space: nowrap; } td:first-child { white-space: normal; }
svg { width: 100%; height: auto; display: block; margin: .6rem 0; font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); } svg .chance { stroke: var(--ink); stroke-dasharray: 4 3; }
svg .band { fill: var(--line); opacity: .6; } svg .tick { text-anchor: middle; fill: var(--soft); }
svg .name { text-anchor: end; fill: var(--ink); } svg .value { fill: var(--ink); }
svg .span { stroke-width: 2.5; } svg line.other { stroke: var(--calm); } svg line.worst { stroke: var(--bad); }
svg circle.other { fill: var(--calm); } svg circle.worst { fill: var(--bad); }
svg .from { text-anchor: start; }
svg line.doubt { stroke: var(--doubt); stroke-dasharray: 3 3; }
svg circle.doubt { fill: var(--paper); stroke: var(--doubt); stroke-width: 2; }
svg .curve { fill: none; stroke-width: 2; } svg circle.point { fill: var(--paper); stroke-width: 2; }
svg .of0 { stroke: var(--calm); } svg .of1 { stroke: var(--bad); } svg .of2 { stroke: var(--good); }
svg .of3 { stroke: var(--doubt); } svg polyline.of1 { stroke-dasharray: 6 3; }
svg polyline.of2 { stroke-dasharray: 2 3; } svg polyline.of3 { stroke-dasharray: 8 3 2 3; }
summary { cursor: pointer; color: var(--calm); } details { margin: .5rem 0; }
details.data { font-size: .9rem; }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } h2, h3, caption { break-after: avoid; }
  .verdict, .warning, svg, tr, figure { break-inside: avoid; } .wide { overflow: visible; } }
"""
)
