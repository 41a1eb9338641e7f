"""How runs are judged and drawn, a file for each kind of signal."""
