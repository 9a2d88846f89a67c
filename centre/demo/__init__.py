"""The demo: an invented centre whose year is told through the portal's verbs. A composition root: it may look up."""
