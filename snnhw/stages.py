"""The stages of a compilation by name, without what they need: `--help` must not pay for torch."""

STAGES = {
    "imported": "the source as a NIR graph, with its semantics; a .net file as the integers it holds",
    "lowered": "populations and projections in floats, scheduled for the target; equal to the source, spike for spike",
    "quantised": "the same populations in integers, with the proof of their range",
    "mapped": "the integers on cores, with everything that is known of them: the artifact",
}
"""Name of each stage -> what it makes, in order."""
