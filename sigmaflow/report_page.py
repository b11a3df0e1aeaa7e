"""Frame of the tear sheet: style, the few lines of script for the pointer, and the page's skeleton."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#131722;--soft:#5d6675;--rule:#e3e6eb;--grid:#eceef2;
--equity:#2257d6;--loss:#c8442c;--gross:#8a93a3;--net:#0e8a7d;--cash:#b7791f}
@media (prefers-color-scheme:dark){:root{--bg:#0f1218;--card:#171b23;--ink:#e7eaf0;--soft:#98a1b1;--rule:#282e39;
--grid:#232934;--equity:#6b9bff;--loss:#ff7b63;--gross:#8b95a7;--net:#35c2b1;--cash:#e0ab55}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.5 Inter,system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:28px 20px 48px}
header{display:flex;flex-wrap:wrap;gap:4px 28px;align-items:flex-end;justify-content:space-between;margin-bottom:18px}
h1{font-size:24px;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:12px;margin:0 0 10px;text-transform:uppercase;letter-spacing:.07em;color:var(--soft);font-weight:600}
header p,.note{margin:2px 0 0;color:var(--soft)}.note{font-size:12px;margin:10px 0 0}
header code{font:12px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(122px,1fr));gap:1px;background:var(--rule);
border:1px solid var(--rule);border-radius:8px;overflow:hidden;margin-bottom:16px}
.tile{background:var(--card);padding:12px 14px}
.tile span{display:block;color:var(--soft);font-size:12px;white-space:nowrap}
.tile b{font-size:19px;font-weight:600;letter-spacing:-.01em;white-space:nowrap}
.gain{color:var(--net)}.loss{color:var(--loss)}
section{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:16px 18px;
margin-bottom:16px;min-width:0}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:0 16px;align-items:stretch}
.chart{position:relative;overflow-x:auto}.chart svg{display:block;width:100%;height:auto}
@media (max-width:700px){.wide svg{min-width:640px}}
.grid{stroke:var(--grid)}.tick{fill:var(--soft);font-size:11px}
.line{fill:none;stroke-width:1.5;stroke-linejoin:round}.area{opacity:.1;stroke:none}
.line.equity{stroke:var(--equity)}.area.equity{fill:var(--equity)}.line.down{stroke:var(--loss)}.area.down{fill:var(--loss)}
.area.down{opacity:.16}.line.gross{stroke:var(--gross)}.line.net{stroke:var(--net)}.line.cvar{stroke:var(--cash)}.area.cvar{fill:var(--cash)}
.column{fill:var(--equity);opacity:.8}
.cross{stroke:var(--soft);stroke-dasharray:3 3;visibility:hidden}
.tip{position:absolute;top:6px;pointer-events:none;display:none;background:var(--card);border:1px solid var(--rule);
border-radius:6px;padding:5px 9px;font-size:12px;white-space:nowrap;box-shadow:0 2px 8px rgb(0 0 0/.12)}
.legend{display:flex;gap:16px;font-size:12px;color:var(--soft);margin:-4px 0 4px}
.legend span::before{content:"";display:inline-block;width:12px;height:3px;border-radius:2px;margin-right:6px;
vertical-align:middle;background:var(--gross)}
.legend .net::before{background:var(--net)}.legend .equity::before{background:var(--equity)}
.legend .cvar::before{background:var(--cash)}
.bar{display:grid;grid-template-columns:minmax(90px,28%) 1fr minmax(76px,auto);gap:12px;align-items:center;height:26px}
.bar .label{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.bar .value{text-align:right}
.track{position:relative;height:14px;display:block}
.track i{position:absolute;top:0;bottom:0;border-radius:2px;background:var(--net)}.track i.loss{background:var(--loss)}
.track b{position:absolute;top:-6px;bottom:-6px;width:1px;background:var(--gross)}
.plain .track b{display:none}.plain .track i{background:var(--equity)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px}
th{font-weight:600;color:var(--soft);font-size:12px}
th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--rule);white-space:nowrap}
td:first-child,th:first-child{padding-left:0}td:last-child,th:last-child{padding-right:0}
tr:last-child td{border-bottom:0}.num{text-align:right}.how{color:var(--soft);white-space:normal;width:60%}
.side{font-weight:600}.buy{color:var(--equity)}.sell{color:var(--cash)}footer{color:var(--soft);font-size:12px}
@media print{body{background:#fff}section,.tiles{break-inside:avoid}main{max-width:none;padding:0}}
"""

#: Shows the values under the pointer: nearest drawn point, one line for each series.
SCRIPT = """
for(const chart of document.querySelectorAll('.chart')){
 const json=chart.querySelector('script'); if(!json) continue;
 const data=JSON.parse(json.textContent),svg=chart.querySelector('svg'),cross=svg.querySelector('.cross'),
  tip=chart.querySelector('.tip');
 const hide=()=>{tip.style.display='none';cross.style.visibility='hidden'};
 svg.addEventListener('pointerleave',hide);
 svg.addEventListener('pointermove',event=>{
  const box=svg.getBoundingClientRect(),scale=box.width/svg.viewBox.baseVal.width,x=(event.clientX-box.left)/scale;
  let low=0,high=data.x.length-1;
  while(low<high){const mid=(low+high)>>1;if(data.x[mid]<x)low=mid+1;else high=mid}
  if(low>0&&x-data.x[low-1]<data.x[low]-x)low--;
  cross.setAttribute('x1',data.x[low]);cross.setAttribute('x2',data.x[low]);cross.style.visibility='visible';
  tip.textContent='';
  const when=document.createElement('div');
  when.textContent=new Date(data.t[low]).toISOString().replace('T',' ').slice(0,23);tip.append(when);
  for(const line of data.lines){const row=document.createElement('div'),value=document.createElement('b');
   row.textContent=line.name+' ';value.textContent=line.v[low];row.append(value);tip.append(row)}
  tip.style.display='block';
  const left=data.x[low]*scale;
  tip.style.left=(left>box.width/2?left-tip.offsetWidth-12:left+12)+'px';
 });
}
"""


def page(title: str, body: str) -> str:
    """Return the whole HTML document; it loads nothing from anywhere."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>{body}</main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )
