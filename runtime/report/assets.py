"""Style and script of the report: inline, so that the page needs nothing but itself."""

from __future__ import annotations

STYLE = """
:root{--ink:#1b2430;--soft:#5b6675;--line:#e3e7ed;--card:#fff;--page:#f5f6f8;--accent:#2b6cb0}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1320px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:16px;margin:0 0 10px}
.meta{color:var(--soft);margin:0 0 20px}
.meta b{color:var(--ink);font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(186px,1fr));gap:12px;
 margin-bottom:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:11px 14px}
.card .value{font-size:23px;font-weight:650;font-variant-numeric:tabular-nums;white-space:nowrap}
.card .unit{font-size:13px;font-weight:500;color:var(--soft)}
.card .name{color:var(--soft);font-size:13px}
.card .more{color:var(--soft);font-size:12px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;
 padding:16px 18px;margin-bottom:16px}
section.problems{border-left:5px solid #f0b458}
section.fine{border-left:5px solid #2f9e6e}
.problems ul{margin:0;padding-left:20px}
.two{display:grid;grid-template-columns:1fr 1fr;gap:14px 20px;align-items:start}
.two>*{min-width:0}
@media(max-width:900px){.two{grid-template-columns:1fr}}
svg.plot{display:block;width:100%;height:auto;font:11px system-ui,"DejaVu Sans",sans-serif}
svg .title{font-size:13px;font-weight:600;fill:var(--ink)}
svg .tick{fill:var(--soft)} svg .label{fill:var(--soft);font-size:12px}
svg .grid{stroke:#e9ecf1;stroke-width:1}
svg.timeline .grid{stroke:#dbe0e8}
svg.timeline{cursor:grab;user-select:none}
video{width:100%;border-radius:8px;background:#000;display:block}
.legend{margin:8px 0 0;font-size:13px;color:var(--soft)}
.legend span{margin-right:18px;white-space:nowrap}
.legend i{display:inline-block;width:14px;height:9px;border-radius:2px;margin-right:6px}
.zoom{margin:0 0 8px}
.zoom button{font:inherit;font-size:13px;padding:2px 10px;margin-right:6px;border:1px solid
 var(--line);border-radius:6px;background:#fafbfc;cursor:pointer}
.hint,.empty{color:var(--soft);font-size:13px}
div.numbers{columns:2;column-gap:36px}
div.numbers table{break-inside:avoid;margin-bottom:8px}
@media(max-width:900px){div.numbers{columns:1}}
table{border-collapse:collapse;width:100%;font-size:13.5px}
td,th{text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid #eef0f4;vertical-align:top}
th{font-weight:600;color:var(--accent);padding-top:10px}
td.key{color:var(--soft);white-space:nowrap;width:1%}
td.num{font-variant-numeric:tabular-nums;white-space:nowrap}
pre{margin:0;white-space:pre-wrap;word-break:break-word;font:12.5px/1.5 ui-monospace,
 "DejaVu Sans Mono",monospace}
details summary{cursor:pointer;font-weight:600}
footer{color:var(--soft);font-size:13px}
"""

SCRIPT = """
for (const plot of document.querySelectorAll('svg.timeline')) {
  const d = plot.dataset, left = +d.left, width = +d.width, inner = +d.inner, end = +d.end;
  const marks = plot.querySelector('.marks'), axis = plot.querySelector('.axis');
  let [x, , span] = marks.getAttribute('viewBox').split(' ').map(Number);
  const draw = () => {
    span = Math.min(Math.max(span, 0.2), end + 0.2);
    x = Math.min(Math.max(x, -0.1), Math.max(end + 0.1 - span, -0.1));
    marks.setAttribute('viewBox', `${x} 0 ${span} ${inner}`);
    let step = 10 ** Math.floor(Math.log10(span / 10));
    step *= [1, 2, 5, 10].find(f => span / (step * f) <= 10);
    let out = '';
    for (let n = Math.ceil(x / step); n * step <= x + span; n++) {
      const px = left + (n * step - x) / span * width, t = +(n * step).toFixed(6);
      out += `<line class="grid" x1="${px}" x2="${px}" y1="0" y2="${inner}"/>` +
        `<text class="tick" x="${px}" y="${inner + 14}" text-anchor="middle">${t} s</text>`;
    }
    axis.innerHTML = out;
  };
  const zoom = (factor, at) => { x += (1 - factor) * span * at; span *= factor; draw(); };
  const where = e => {
    const box = plot.getBoundingClientRect();
    return ((e.clientX - box.left) * plot.viewBox.baseVal.width / box.width - left) / width;
  };
  for (const button of plot.previousElementSibling.querySelectorAll('button'))
    button.onclick = () => {
      const b = button.dataset;
      if (b.zoom) zoom(+b.zoom, 0.5);
      else { if (b.pan) x += +b.pan * span; else { x = -0.1; span = end + 0.2; } draw(); }
    };
  plot.addEventListener('wheel', e => {
    e.preventDefault(); zoom(e.deltaY > 0 ? 1.2 : 1 / 1.2, where(e));
  }, { passive: false });
  let from = null;
  plot.onpointerdown = e => { from = where(e); plot.setPointerCapture(e.pointerId); };
  plot.onpointerup = () => { from = null; };
  plot.onpointermove = e => {
    if (from === null) return;
    const to = where(e); x -= (to - from) * span; from = to; draw();
  };
}
"""
