"""The command line: `fjeld VERB PATH ...`. One file a verb; the errors of all go through one funnel."""
