"""Colours that colour-blind readers can tell apart; every state also has a sign (`status.SIGNS`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from etl.diagnostics.page_data import Kind

# The picture's, drawn on any machine.
FONT: Final = "Liberation Sans, Noto Sans CJK TC, sans-serif"
# After Okabe and Ito, darkened for white paper and lightened for black.
LIGHT: Final = {
    "paper": "#ffffff",
    "sheet": "#f5f7f9",
    "ink": "#1c2329",
    "soft": "#57626d",
    "line": "#d9dfe5",
    "live": "#c8500a",
    "live-other": "#7d3205",
    "vod": "#0068a8",
    "vod-other": "#00395e",
    "viewers": "#6a3d9a",
    "gap": "#e6e9ed",
    "loaded": "#007a59",
    "empty": "#007a59",
    "presumed-empty": "#007a59",
    "unavailable": "#8a6100",
    "held": "#9c2f78",
    "failed": "#b3261e",
    "never-tried": "#6b7680",
}
DARK: Final = {
    "paper": "#12161a",
    "sheet": "#1b2127",
    "ink": "#e8ecef",
    "soft": "#a3aeb8",
    "line": "#333c45",
    "live": "#ff9a57",
    "live-other": "#c06a32",
    "vod": "#5ab4ee",
    "vod-other": "#2f7fb8",
    "viewers": "#bd9cf2",
    "gap": "#2a323a",
    "loaded": "#3cc79b",
    "empty": "#3cc79b",
    "presumed-empty": "#3cc79b",
    "unavailable": "#e3b341",
    "held": "#ec93cd",
    "failed": "#ff8078",
    "never-tried": "#8b97a2",
}


def name_of(state: str) -> str:
    """The state's name in the palette, and as a CSS class."""
    return state.replace(" ", "-")


def colour_of(kind: Kind) -> str:
    """One hue per report: its own streaming type's, and a deeper one for what else the report holds."""
    own = kind.report_type.value
    return own.lower() if kind.streaming_type == own else f"{own.lower()}-other"
