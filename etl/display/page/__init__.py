"""The HTML page: one self-contained file, or an image of it for chat.

publish        reads the figures and writes the file
render         the HTML, from a template
script_data    what its script computes with
content_names  what a content is called
theme          colours and fonts
image          the picture
charts         its charts, for Vega-Lite
missing_fonts  which scripts it would show as boxes
"""
