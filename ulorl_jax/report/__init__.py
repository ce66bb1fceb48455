"""A page to look at runs with: one HTML file that opens from disk.

`page.write_report` is the door. The runs are read by `runs.py`, judged by `findings.py`, their rollouts packed by
`rollouts.py`; the browser's part lies beside them as HTML, CSS and JavaScript.
"""
