"""The style sheet of the page. Colours are told apart in both schemes, also by the colour-blind."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--dim:#5a6370;--rule:#d9dee4;--soft:#eef1f4;
--ok:#0072b2;--raised:#d55e00;--lost:#c1121f;--timeout:#8e44ad;--cancelled:#7a7f87;--idling:#56b4e9;
--pickling:#e69f00;--more:#009e73}
@media (prefers-color-scheme:dark){:root{--ground:#14171a;--ink:#e6e9ec;--dim:#9aa4b0;--rule:#343b43;
--soft:#23292f;--ok:#4da3dd;--raised:#f08a3c;--lost:#ff6b6b;--timeout:#c58be0;--cancelled:#9aa0a8;
--idling:#8fd0f5;--pickling:#f0b94a;--more:#3ecf9f}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;margin:.2rem 0;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:1.6rem 0 .5rem;border-bottom:1px solid var(--rule);padding-bottom:.2rem}
.note{color:var(--dim);margin:.2rem 0}
.advice li{margin:.3rem 0}
.wide{overflow-x:auto}
.wide:focus-visible,summary:focus-visible{outline:2px solid var(--ok);outline-offset:2px}
svg{display:block;width:100%;min-width:40rem;height:auto}
svg text{font-size:11px;fill:var(--dim)}
svg text.name{text-anchor:end;fill:var(--ink)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.2rem .7rem .2rem 0;vertical-align:top}
th{white-space:nowrap;color:var(--dim);font-weight:600;border-bottom:1px solid var(--rule)}
td{max-width:36rem;overflow-wrap:break-word}
.n{text-align:right;white-space:nowrap}
pre{overflow-x:auto;background:var(--soft);padding:.7rem;border-radius:.3rem;font-size:13px}
details{margin:.3rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:.4rem 0;color:var(--dim)}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
.grid{stroke:var(--rule);stroke-width:1}
.alive{fill:var(--soft);background:var(--soft)}
.returned{fill:var(--ok);background:var(--ok)}
.raised{fill:var(--raised);background:var(--raised)}
.lost{fill:var(--lost);background:var(--lost)}
.timeout{fill:var(--timeout);background:var(--timeout)}
.cancelled,.stopped,.unfinished{fill:var(--cancelled);background:var(--cancelled)}
.idling{fill:var(--idling);background:var(--idling)}
.pickling{fill:var(--pickling);background:var(--pickling)}
.died{stroke:var(--lost);stroke-width:2;fill:none}
.told{stroke:var(--timeout);stroke-width:2;fill:none}
.retry{fill:var(--pickling)}
.line{fill:none;stroke-width:1.5}
.c0{stroke:var(--ok)}.c1{stroke:var(--raised)}.c2{stroke:var(--more)}.c3{stroke:var(--timeout)}
.c4{stroke:var(--pickling)}.c5{stroke:var(--lost)}.c6{stroke:var(--idling)}.c7{stroke:var(--cancelled)}
i.c0{background:var(--ok)}i.c1{background:var(--raised)}i.c2{background:var(--more)}
i.c3{background:var(--timeout)}i.c4{background:var(--pickling)}i.c5{background:var(--lost)}
i.c6{background:var(--idling)}i.c7{background:var(--cancelled)}
@media (max-width:40rem){svg{min-width:54rem}}
@media print{details{break-inside:avoid}body{max-width:none}}
"""
