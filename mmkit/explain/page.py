"""Explanations as one page of HTML, which needs no other file and asks nothing of any server."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mmkit.explain import words
from mmkit.explain.figures import bars, figure
from mmkit.explain.found import Found
from mmkit.explain.parts import Inside, TextParts

STRONGEST = 8
"""Tokens that are listed below a text."""

STYLE = """
.mmx{--ink:#1c2128;--soft:#57606a;--paper:#fff;--line:#d8dee4;--for:33 113 221;--against:222 110 0;color:var(--ink);
background:var(--paper);font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem;
overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){.mmx{--ink:#e6edf3;--soft:#9aa5b1;--paper:#12161b;--line:#333c46;
--for:64 140 245;--against:226 122 20}}
.mmx h1{font-size:1.35rem;margin:.2em 0 .6em}.mmx h2{font-size:1.1rem;margin:2em 0 .4em}
.mmx h3{font-size:1rem;margin:1.6em 0 .3em}.mmx section+section{border-top:2px solid var(--line);margin-top:2.5em}
.mmx p{margin:.4em 0}.mmx .note,.mmx figcaption,.mmx li{color:var(--soft);font-size:.875rem}
.mmx .say{font-size:1.1rem}.mmx table{border-collapse:collapse;width:100%;margin:.6em 0}
.mmx th,.mmx td{text-align:left;font-weight:400;padding:.25em .5em .25em 0;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:break-word}
.mmx thead th{color:var(--soft);font-size:.875rem}.mmx tbody th{font-weight:600;max-width:14rem;overflow-wrap:anywhere}
.mmx td{overflow-wrap:anywhere}.mmx .figure{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.mmx td.bar{position:relative;width:38%;padding:0}.mmx td.bar span{position:absolute;top:.35em;height:1em;
border-radius:2px}.mmx td.bar .middle{left:50%;width:1px;top:0;height:100%;background:var(--line);border-radius:0}
.mmx .for{background:rgb(var(--for)/calc(var(--a)*.62));fill:rgb(var(--for)/calc(var(--a)*.7))}
.mmx .share{background:var(--soft)}
.mmx .against{background:rgb(var(--against)/calc(var(--a)*.62));
fill:rgb(var(--against)/calc(var(--a)*.7))}
.mmx .text{font-size:1.1rem;line-height:1.9;white-space:pre-wrap;border-left:3px solid var(--line);padding-left:.8em}
.mmx .text[dir=auto]:dir(rtl){border-left:0;border-right:3px solid var(--line);padding:0 .8em 0 0}
.mmx .pictures{display:flex;flex-wrap:wrap;gap:1rem}.mmx figure{margin:.4em 0;flex:0 1 20rem}
.mmx .picture{position:relative}.mmx .picture img{width:100%;height:100%;display:block}
.mmx .picture .sharp{image-rendering:pixelated}.mmx .picture .over{position:absolute;inset:0}
.mmx .under img:first-child{filter:grayscale(1) contrast(.4) brightness(1.45)}
.mmx svg{width:100%;height:auto;display:block}.mmx polyline{fill:none;stroke:var(--ink);stroke-width:1.1;
vector-effect:non-scaling-stroke;stroke-linejoin:round}.mmx svg text{fill:var(--soft);font-size:12px}
.mmx .key span{border-radius:2px;padding:.1em .4em}.mmx ul{margin:.4em 0;padding-left:1.2em}
@media (max-width:34rem){.mmx td.bar{width:24%}.mmx{padding:.7rem}}
@media print{.mmx section{break-inside:avoid-page}}
"""
"""Of the page and of a cell of a notebook alike."""


def page(found: Sequence[Found], title: str) -> str:
    """A whole page of explanations.

    Args:
        found: what is explained.
        title: of the page.
    """
    body = "\n".join(_section(one) for one in found)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}\nbody{{margin:0;background:#fff}}"
        "@media (prefers-color-scheme:dark){body{background:#12161b}}</style></head>\n"
        f'<body><main class="mmx">\n<h1>{escape(title)}</h1>\n{body}\n{_limits()}\n</main></body></html>\n'
    )


def section(found: Found) -> str:
    """One explanation, with its style, to stand within another page."""
    return f'<style>{STYLE}</style><div class="mmx">{_section(found)}{_limits()}</div>'


def _section(found: Found) -> str:
    parts = [
        f"<section><h2>{escape(found.title)}</h2>",
        _paragraph(words.answer(found), "say"),
        _paragraph(f"{words.explained(found)} {words.nothing(found)}"),
        "<h3>What each input gives</h3>",
        bars(
            ("input", "kind", words.unit(found)),
            [
                (
                    one.name,
                    one.modality,
                    "missing" if one.value is None else words.change(found, one.value) + _error(found, one.error),
                    one.value,
                )
                for one in found.contributions
            ],
        ),
        _paragraph(f"{words.total(found)} {words.how(found)}", "note"),
        KEY,
    ]
    for name, one in found.inside.items():
        parts += [f"<h3>Inside {escape(name)}</h3>", figure(found, one), _list(found, one)]
        parts += [_paragraph(words.inside(found, name), "note")]
    for kind in dict.fromkeys(one.kind for one in found.details):
        rows = [(one.name, "", words.detail(one), one.value) for one in found.details if one.kind == kind]
        parts += [f"<h3>What the fusion weighs: {escape(kind)}</h3>", bars(("input", "", kind), rows, shares=True)]
        parts += [_paragraph("The fusion says this of itself; it is not what decides.", "note")]
    parts += [_paragraph(remark, "note") for remark in words.remarks(found)]
    return "\n".join([*parts, "</section>"])


KEY = (
    '<p class="note key"><span class="for" style="--a:.9">blue</span> speaks for it, '
    '<span class="against" style="--a:.9">orange</span> against it; the stronger the colour, the more. Each input has '
    "its own scale.</p>"
)


def _error(found: Found, error: float | None) -> str:
    return "" if error is None else f" ± {words.change(found, error).lstrip('+')}"


def _list(found: Found, one: Inside) -> str:
    """The strongest tokens of a text in figures, since colours alone are not for everybody."""
    if not isinstance(one.parts, TextParts):
        return ""
    order = sorted(range(len(one.values)), key=lambda place: -abs(one.values[place]))[:STRONGEST]
    said = [
        f"<bdi>{escape(one.parts.text[slice(*one.parts.spans[place])])}</bdi> {words.change(found, one.values[place])}"
        for place in order
        if one.values[place]
    ]
    return f'<p class="note">{" · ".join(said)}</p>' if said else '<p class="note">no part gives anything</p>'


def _limits() -> str:
    return f"<h2>What this is not</h2><ul>{''.join(f'<li>{escape(one)}</li>' for one in words.LIMITS)}</ul>"


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"
