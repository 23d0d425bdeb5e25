"""The HTML page: one self-contained file, or an image of it for chat.

write_report   reads the figures and writes the file
render         the HTML, from a template
script_data    what its script computes with
content_names  what a content is called
theme          colours and fonts
image          the picture
image_charts   the picture's charts, for Vega-Lite
missing_fonts  which scripts it would show as boxes
"""
