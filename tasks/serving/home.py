"""The few pages that the service writes itself: its home, and what logs a browser in."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup, escape

STYLE = """
:root { --ink: #1b1f24; --soft: #5b6470; --line: #d9dde2; --bad: #a3160f; --accent: #0b5a94; }
* { box-sizing: border-box; } body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 40rem;
margin: 3rem auto; padding: 0 1rem; } h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
.eyebrow { color: var(--accent); font-weight: 600; letter-spacing: .04em; margin: 0; } a { color: var(--accent); }
.soft { color: var(--soft); font-size: .92rem; } .bad { color: #fff; background: var(--bad); border-radius: 6px;
padding: .7rem 1rem; } label { display: block; font-weight: 600; margin: 0 0 .3rem; } input:not([type=hidden]) {
display: block; width: 100%; font: inherit; padding: .5rem .6rem; border: 1px solid var(--soft); border-radius: 6px; }
button { font: inherit; font-weight: 600; color: #fff; background: var(--accent); border: 0; border-radius: 6px;
padding: .5rem 1.2rem; margin: .9rem 0 0; cursor: pointer; } .out { display: flex; gap: 1rem; align-items: baseline;
border-top: 1px solid var(--line); margin-top: 2rem; } .out button { color: var(--accent); background: none;
padding: 0; margin: 0; text-decoration: underline; font-weight: 400; } li { margin: .2rem 0; }
"""


def page(heading: str, body: Markup, head: str = "") -> str:
    """A page without scripts and without anything from elsewhere.

    Args:
        head: markup of ours for the document's head.
    """
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width, "
        f"initial-scale=1'>{head}<title>{escape(heading)}</title><style>{STYLE}</style></head><body>"
        f"<p class=eyebrow>Assay</p><h1>{escape(heading)}</h1>{body}</body></html>"
    )


def home_page(models: Mapping[str, tuple[str, str]], warning: str, who: str, log_out: str) -> str:
    """What serves, and the ways on.

    Args:
        models: version by name, and why it is stopped; empty where it answers.
        warning: shown in red; empty for none.
        who: is logged in; empty where a program asks.
        log_out: the token of the form that logs out; empty where no browser has.
    """
    items = Markup("").join(
        Markup("<li><a href='/models/{0}'>{0}</a> {1}</li>").format(name, f"stopped: {why}" if why else version)
        for name, (version, why) in models.items()
    )
    told = warning[:1].upper() + warning[1:] + "."
    body = Markup("{warning}<ul>{items}</ul><p>{ways}</p>{out}").format(
        warning=Markup("<p class=bad role=alert>{}</p>").format(told) if warning else "",
        items=items or Markup("<li>no model serves yet</li>"),
        ways=Markup(
            "<a href='/reports/'>reports</a> · <a href='/openapi.json'>OpenAPI</a> · <a href='/health'>health</a> · "
            "<a href='/metrics'>metrics</a>"
        ),
        out=Markup(
            "<form class=out method=post action='/logout'><span class=soft>Logged in by {who}</span><input type=hidden "
            "name=form value='{token}'><button>Log out</button></form>"
        ).format(who=who, token=log_out)
        if log_out
        else "",
    )
    return page("Prediction service", body)
