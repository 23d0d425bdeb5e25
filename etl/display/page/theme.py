"""Colours, which keep apart for the colour-blind; every state has a sign besides (`status.SIGNS`)."""

from __future__ import annotations

from typing import Final

# After Okabe and Ito, darkened for white paper and lightened for black.
LIGHT: Final = {
    "paper": "#ffffff",
    "sheet": "#f5f7f9",
    "ink": "#1c2329",
    "soft": "#57626d",
    "line": "#d9dfe5",
    "live": "#c8500a",
    "vod": "#0068a8",
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
    "vod": "#5ab4ee",
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
    """The state's name among the colours, and as a CSS class."""
    return state.replace(" ", "-")


def variable(name: str) -> str:
    """The colour as the page's stylesheet has it: it follows the reader's scheme, on paper too."""
    return f"var(--{name})"


def on_paper(name: str) -> str:
    """The colour on white."""
    return LIGHT[name]
