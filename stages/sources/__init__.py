"""Where materials come from: packages, the hub, local files. Each with an identity that cannot drift."""
