"""The page for people who would rather look: one self-contained file of HTML, or a picture of it for chat.

publish  reads the figures and writes the file
render   the HTML, from a template
charts   the charts, for Vega-Lite
theme    colours and fonts
image    the picture
"""
