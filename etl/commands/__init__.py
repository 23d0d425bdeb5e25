"""The commands, by what they do: work, look, or try things out. Each is a function that `cli` gives a name to."""
