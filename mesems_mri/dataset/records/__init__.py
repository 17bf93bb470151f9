"""Records of the steps: what a step leaves of a visit for the next step, the next visit and the pages.

A record is a JSON object with ``status`` (``done``, ``not_evaluable``, ``failed``), ``reason`` and
``message``. What later visits need of this one stands under ``carried``; a step that stops carries on what it
was given, so that no visit stops those after it. Every class is one object of a record with `to_json` and
`from_json`: what is read and written again has the same bytes. A missing key raises `KeyError`, which fails
the step that reads it.
"""
