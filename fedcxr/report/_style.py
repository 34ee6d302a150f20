"""What a report's page looks like beyond what all pages do, and the one script, without which it can be read too."""

from __future__ import annotations

STYLE = """
body { max-width: 60rem; padding: 2rem 1.25rem 5rem; }
section > p, section > ul, header, .notice, footer { max-width: 44rem; }
.kicker { color: var(--soft); margin: 0; font-size: .9rem; }
h1 { font-size: 1.9rem; line-height: 1.2; color: var(--ink); margin: .1rem 0 1.4rem; }
section { border-top: 1px solid var(--line); margin-top: 2.8rem; padding-top: .4rem; }
section h2 { margin-top: 1rem; }
.readers { color: var(--soft); font-size: .85rem; margin: -.3rem 0 1rem; }
nav { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 1rem 2rem; font-size: .9rem;
  padding: .9rem 0; margin-top: 2.2rem; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
nav ul { list-style: none; margin: .2rem 0 0; padding: 0; } .reader { font-weight: 600; margin: 0; }
nav a { text-decoration: none; display: inline-block; padding: .12rem 0; } nav a:hover { text-decoration: underline; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
.answer { border: 0; border-left: 5px solid var(--calm); background: var(--shade); padding: .3rem 1.4rem 1rem;
  margin-top: 2rem; }
.answer h2 { font-size: 1rem; color: var(--soft); font-weight: 600; margin: .8rem 0 .3rem; }
.lead { font-size: 1.25rem; line-height: 1.4; margin: 0 0 .7rem; }
.notice { border-left: 5px solid var(--doubt); padding: .1rem 1.2rem; margin-top: 1.2rem; font-size: .9rem; }
.gloss { color: var(--soft); font-size: .88rem; margin: .3rem 0; } .gloss dfn { font-style: normal; font-weight: 600; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.doubt { color: var(--doubt); font-weight: 600; } .soft { color: var(--soft); }
td small, th small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; }
th small { white-space: normal; } thead th { vertical-align: bottom; }
table.long td { white-space: normal; text-align: left; }
table.long th { text-align: left; min-width: 9rem; } .notice ul { list-style: none; padding: 0; }
table.told th[scope=row] { min-width: 9rem; white-space: normal; }
td.words { text-align: left; white-space: normal; min-width: 14rem; }
.figure { margin: 1rem 0; overflow-x: auto; } .figure svg { min-width: 34rem; max-width: 46rem; }
svg .kept { fill: var(--calm); } svg .lesser { fill: var(--paper); stroke: var(--soft); stroke-width: 1.5; }
svg .unsure { fill: var(--paper); stroke: var(--doubt); stroke-width: 2; stroke-dasharray: 2.5 2; }
svg .reach { stroke: var(--soft); stroke-width: 1; opacity: .65; } svg .bound { stroke: var(--good);
  stroke-dasharray: 5 4; } svg .wanted { fill: var(--good); } svg .title { fill: var(--soft); text-anchor: middle; }
svg .arrow { fill: none; stroke: var(--soft); stroke-width: 1.5; }
.films { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1.4rem; }
.films figure { margin: 0; break-inside: avoid; } .films img { width: 100%; height: auto; display: block; }
figcaption { font-size: .85rem; color: var(--soft); padding-top: .3rem; }
.filter { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; align-items: end; margin: .8rem 0; font-size: .9rem; }
.filter[hidden] { display: none; } .filter label { display: grid; gap: .2rem; }
.filter input, .filter select { font: inherit; color: inherit; background: var(--paper); padding: .35rem .5rem;
  border: 1px solid var(--soft); border-radius: 3px; }
code { font-size: .88em; overflow-wrap: anywhere; }
details.part { border-top: 1px solid var(--line); margin: 0; padding: .5rem 0; }
details.part > summary { font-weight: 600; }
@media print { nav, .filter, .skip { display: none; } details.part::details-content { content-visibility: visible;
  block-size: auto; } section { margin-top: 1.5rem; } .figure { overflow: visible; } .figure svg { min-width: 0; } }
"""

SCRIPT = """
(() => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("table.policies tbody tr")];
  const said = form.querySelector("output");
  const sift = () => {
    const word = form.elements.word.value.trim().toLowerCase(), state = form.elements.state.value;
    let left = 0;
    for (const row of rows) {
      row.hidden = !(row.textContent.toLowerCase().includes(word) && (!state || row.dataset.state === state));
      left += !row.hidden;
    }
    said.textContent = left + " of " + rows.length + " shown";
  };
  form.hidden = false;
  form.addEventListener("input", sift);
  form.addEventListener("submit", event => event.preventDefault());
  sift();
})();
"""
