"""The page for people who would rather look: one self-contained file of HTML, or a picture of it for chat."""
