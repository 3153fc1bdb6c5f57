"""bayescale."""

