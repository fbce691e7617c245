"""How the four directions of evaluation are written: speech or text in the prompt, speech or text in the response."""

DIRECTIONS = {"s2s": "S→S", "t2t": "T→T", "s2t": "S→T", "t2s": "T→S"}
